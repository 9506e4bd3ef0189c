-- How many postings a search may read can be said: one that would come back short asks again for all, so that frequent words find what they are in.
drop function knowledge_match(text, smallint[], int, memory_kind[], text[], text, timestamptz, timestamptz);
create function knowledge_match(
    p_query text, p_corpora smallint[], p_limit int, p_kinds memory_kind[] default null, p_tags text[] default null,
    p_path text default null, p_since timestamptz default null, p_until timestamptz default null, p_most int default 30000)
returns table (memory int, score real, coverage real) language plpgsql stable as $$
declare v_terms text[]; v_gains float8[]; v_weights float8[]; v_slope float8;
begin
  with t as materialized (select * from knowledge_terms(p_query, p_corpora, p_most)), w as (select sum(greatest(t.idf, 1))::float8 as whole from t)
  select array_agg(t.term) filter (where t.kept), array_agg(t.idf::float8 * 2.2::float8) filter (where t.kept),
         array_agg(greatest(t.idf, 1)::float8 / w.whole) filter (where t.kept)
    into v_terms, v_gains, v_weights from t cross join w;
  if v_terms is null then return; end if;
  select 0.9::float8 / greatest(sum(c.words)::float8 / greatest(sum(c.docs), 1), 1) into v_slope from corpus c where c.id = any (p_corpora);
  if p_tags is null and p_path is null and p_since is null and p_until is null then
    return query
      select p.memory, sum(w.gain * p.tf / (p.tf + 0.3::float8 + v_slope * p.len))::real as s, sum(w.weight)::real
        from unnest(v_terms, v_gains, v_weights) as w (term, gain, weight) join posting p on p.term = w.term
       where p.corpus = any (p_corpora) and (p_kinds is null or p.kind = any (p_kinds))
       group by p.memory order by s desc, p.memory limit p_limit;
  else
    return query
      select p.memory, sum(w.gain * p.tf / (p.tf + 0.3::float8 + v_slope * p.len))::real as s, sum(w.weight)::real
        from unnest(v_terms, v_gains, v_weights) as w (term, gain, weight) join posting p on p.term = w.term
        join public.memory m on m.number = p.memory
       where p.corpus = any (p_corpora) and (p_kinds is null or p.kind = any (p_kinds)) and (p_tags is null or m.tags @> p_tags)
         and (p_path is null or m.path like p_path) and (p_since is null or m.created_at >= p_since) and (p_until is null or m.created_at < p_until)
       group by p.memory order by s desc, p.memory limit p_limit;
  end if;
end $$;
