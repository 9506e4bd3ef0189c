-- Who adds an item shares the key of its corpus, and then counts it there. To hold the corpus against the sharing too, as an index did at its end,
-- was a deadlock of the two.
create or replace function knowledge_weigh(p_corpus smallint) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
declare v_docs int; v_weighed int;
begin
  select docs, weighed_docs into v_docs, v_weighed from corpus where id = p_corpus for no key update;
  if v_docs is null or abs(v_docs - v_weighed) * 10 <= v_docs then return false; end if;
  delete from frequent_term where corpus = p_corpus;
  insert into frequent_term (term, corpus, docs)
  select term, p_corpus, count(*) from posting where corpus = p_corpus group by term having count(*) >= 256;
  update corpus set weighed_docs = v_docs where id = p_corpus;
  return true;
end $$;
