-- Postings are written in the order of their index, each text is taken apart once, and blanks that are blanks stay as they are: the same
-- words as knowledge_words() tells, found and stored in less time.

create or replace function knowledge_split(p_text text) returns text language sql immutable parallel safe as $$
  select regexp_replace(regexp_replace(regexp_replace(p_text, '([[:lower:][:digit:]])([[:upper:]])', '\1 \2', 'g'),
                                       '([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g'), '[^[:alnum:]\s]+', ' ', 'g')
$$;

create or replace function knowledge_post_in() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  with split as materialized (
    select m.number, m.corpus, m.kind, to_tsvector('english'::regconfig, knowledge_split(knowledge_text(m.title, m.path, m.content))) as words
      from come m where m.state = 'active'),
  fresh as materialized (
    select s.number, s.corpus, s.kind, s.words, l.len
      from split s cross join lateral (
        select least(coalesce(sum(least(coalesce(cardinality(w.positions), 1), 255)), 0), 32767)::smallint as len
          from unnest(s.words) w where length(w.lexeme) <= 40) l),
  posted as (
    insert into posting (memory, kind, corpus, tf, len, term)
    select f.number, f.kind, f.corpus, least(coalesce(cardinality(w.positions), 1), 255), f.len, w.lexeme
      from fresh f cross join lateral unnest(f.words) w where length(w.lexeme) <= 40
     order by w.lexeme collate "C", f.corpus, f.number),
  grown as (select f.corpus, count(*)::int as docs, sum(f.len) as words from fresh f group by f.corpus order by f.corpus)
  update corpus c set docs = c.docs + g.docs, words = c.words + g.words from grown g where c.id = g.corpus;
  return null;
end $$;
