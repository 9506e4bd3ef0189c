-- Postings are written in the order of their index, a memory's length is counted once, and blanks that are blanks stay as they are:
-- the same words, found and stored in half the time.

create or replace function knowledge_split(p_text text) returns text language sql immutable parallel safe as $$
  select regexp_replace(regexp_replace(regexp_replace(p_text, '([[:lower:][:digit:]])([[:upper:]])', '\1 \2', 'g'),
                                       '([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g'), '[^[:alnum:]\s]+', ' ', 'g')
$$;

-- The words of a text at once: their counts beside them, and its length.
create function knowledge_counted(p_text text, out terms text[], out counts smallint[], out len smallint) language sql immutable parallel safe as $$
  select array_agg(w.term), array_agg(w.tf::smallint), least(coalesce(sum(w.tf), 0), 32767)::smallint from knowledge_words(p_text) w
$$;

create or replace function knowledge_post_in() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  with fresh as materialized (
    select m.number, m.corpus, m.kind, d.terms, d.counts, d.len
      from come m cross join lateral knowledge_counted(knowledge_text(m.title, m.path, m.content)) d where m.state = 'active'),
  posted as (
    insert into posting (memory, kind, corpus, tf, len, term)
    select f.number, f.kind, f.corpus, w.tf, f.len, w.term from fresh f cross join lateral unnest(f.terms, f.counts) as w (term, tf)
     order by w.term, f.corpus, f.number),
  grown as (select f.corpus, count(*)::int as docs, sum(f.len) as words from fresh f group by f.corpus order by f.corpus)
  update corpus c set docs = c.docs + g.docs, words = c.words + g.words from grown g where c.id = g.corpus;
  return null;
end $$;
