-- Postings are made in one pass: each text is taken apart once and its words are counted from what that gave. The row of the corpus is touched
-- after them (a WITH that nothing reads runs last), so that batches of an index wait for each other no longer than a commit takes; and they fit
-- into memory.
create or replace function knowledge_post_in() returns trigger language plpgsql security definer set search_path = public, pg_temp
  set work_mem = '32MB' as $$
begin
  with split as materialized (
    select m.number, m.corpus, m.kind, to_tsvector('english'::regconfig, knowledge_split(knowledge_text(m.title, m.path, m.content))) as words
      from come m where m.state = 'active'),
  counted as materialized (
    select s.number, s.corpus, s.kind, w.lexeme collate "C" as term, least(coalesce(array_length(w.positions, 1), 1), 255)::smallint as tf
      from split s cross join lateral unnest(s.words) w where length(w.lexeme) <= 40),
  lens as materialized (select c.number, least(sum(c.tf), 32767)::smallint as len from counted c group by c.number),
  grown as (
    select s.corpus, count(*)::int as docs, coalesce(sum(l.len), 0) as words from split s left join lens l using (number)
     group by s.corpus order by s.corpus),
  added as (update corpus c set docs = c.docs + g.docs, words = c.words + g.words from grown g where c.id = g.corpus)
  insert into posting (memory, kind, corpus, tf, len, term)
  select c.number, c.kind, c.corpus, c.tf, l.len, c.term from counted c join lens l using (number) order by c.term;
  return null;
end $$;
