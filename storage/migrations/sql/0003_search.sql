-- Search: an inverted index with BM25 in SQL, and vectors beside it where an embedder is set.

create table posting (
  memory int not null,
  kind memory_kind not null,
  corpus smallint not null,
  tf smallint not null,
  len smallint not null,
  term text collate "C" not null,
  primary key (term, corpus, memory) include (tf, len, kind)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

-- How many memories hold a term, for those terms that many hold; rarer ones are counted when they are asked for.
create table frequent_term (
  term text collate "C" not null,
  corpus smallint not null references corpus (id) on delete cascade,
  docs int not null,
  primary key (term, corpus)
);

-- The same word whether it is written maxRetries, max_retries or "max retries".
create function knowledge_split(p_text text) returns text language sql immutable parallel safe as $$
  select regexp_replace(regexp_replace(regexp_replace(p_text, '([[:lower:][:digit:]])([[:upper:]])', '\1 \2', 'g'),
                                       '([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g'), '[^[:alnum:]]+', ' ', 'g')
$$;

create function knowledge_words(p_text text) returns table (term text, tf int) language sql immutable parallel safe as $$
  select lexeme, least(coalesce(cardinality(positions), 1), 255) from unnest(to_tsvector('english'::regconfig, knowledge_split(p_text)))
   where length(lexeme) <= 40
$$;

-- What of a memory is searched: its title and path count besides its text.
create function knowledge_text(p_title text, p_path text, p_content text) returns text language sql immutable parallel safe as $$
  select concat_ws(' ', p_title, p_title, p_path, p_content)
$$;

create table embedder (
  id smallint generated always as identity primary key,
  name text not null unique,                 -- of the model, with what changes its vectors
  dims int not null check (dims between 8 and 4000),
  active boolean not null default false,
  created_at timestamptz not null default clock_timestamp()
);
create unique index embedder_active on embedder (active) where active;

create table embedding (
  model smallint not null references embedder (id) on delete cascade,
  memory int not null,
  corpus smallint not null,
  kind memory_kind not null,
  vector halfvec not null,
  primary key (model, memory)
);
create index embedding_corpus on embedding (model, corpus);

create table query_vector (
  model smallint not null references embedder (id) on delete cascade,
  hash uuid not null,
  vector halfvec not null,
  used_at timestamptz not null default clock_timestamp(),
  primary key (model, hash)
);

-- ── keeping both in step with the memories ──

create function knowledge_post_in() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  with fresh as materialized (
    select m.number, m.corpus, m.kind, w.term, w.tf, least(sum(w.tf) over (partition by m.number), 32767)::smallint as len
      from come m cross join lateral knowledge_words(knowledge_text(m.title, m.path, m.content)) w where m.state = 'active'),
  posted as (insert into posting (memory, kind, corpus, tf, len, term) select number, kind, corpus, tf, len, term from fresh),
  lens as (select number, max(len) as len from fresh group by number),
  grown as (
    select m.corpus, count(*)::int as docs, coalesce(sum(l.len), 0) as words
      from come m left join lens l on l.number = m.number where m.state = 'active' group by m.corpus order by m.corpus)
  update corpus c set docs = c.docs + g.docs, words = c.words + g.words from grown g where c.id = g.corpus;
  return null;
end $$;

create function knowledge_post_out() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if not exists (select 1 from gone where state = 'active') then return null; end if;
  delete from embedding e using gone m where m.state = 'active' and e.memory = m.number;
  with old_words as materialized (
    select m.number, m.corpus, w.term from gone m cross join lateral knowledge_words(knowledge_text(m.title, m.path, m.content)) w where m.state = 'active'),
  dropped as (
    delete from posting p using old_words o where p.term = o.term and p.corpus = o.corpus and p.memory = o.number returning p.memory, p.corpus, p.len),
  shrunk as (select corpus, count(*)::int as docs, sum(len) as words from (select memory, corpus, max(len) as len from dropped group by 1, 2) d group by corpus),
  lost as (select m.corpus, count(*)::int as docs from gone m where m.state = 'active' group by m.corpus order by m.corpus)
  update corpus c set docs = greatest(0, c.docs - l.docs), words = greatest(0, c.words - coalesce(s.words, 0))
    from lost l left join shrunk s on s.corpus = l.corpus where c.id = l.corpus;
  return null;
end $$;

-- An update takes out the old words and puts in the new ones, of those rows alone whose words or place have changed.
create function knowledge_post_change() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
declare v_changed int[];
begin
  select array_agg(o.number) into v_changed from was o join became n on n.number = o.number
   where (o.corpus, o.kind, o.state, o.title, o.path, o.content) is distinct from (n.corpus, n.kind, n.state, n.title, n.path, n.content);
  if v_changed is null then return null; end if;
  delete from embedding where memory = any (v_changed);
  with old_words as materialized (
    select m.number, m.corpus, w.term from was m cross join lateral knowledge_words(knowledge_text(m.title, m.path, m.content)) w
     where m.state = 'active' and m.number = any (v_changed)),
  dropped as (
    delete from posting p using old_words o where p.term = o.term and p.corpus = o.corpus and p.memory = o.number returning p.memory, p.corpus, p.len),
  lens as (select memory, max(len) as len from dropped group by memory),
  lost as (
    select m.corpus, count(*)::int as docs, coalesce(sum(l.len), 0) as words
      from was m left join lens l on l.memory = m.number where m.state = 'active' and m.number = any (v_changed) group by m.corpus order by m.corpus)
  update corpus c set docs = greatest(0, c.docs - l.docs), words = greatest(0, c.words - l.words) from lost l where c.id = l.corpus;
  with fresh as materialized (
    select m.number, m.corpus, m.kind, w.term, w.tf, least(sum(w.tf) over (partition by m.number), 32767)::smallint as len
      from became m cross join lateral knowledge_words(knowledge_text(m.title, m.path, m.content)) w
     where m.state = 'active' and m.number = any (v_changed)),
  posted as (insert into posting (memory, kind, corpus, tf, len, term) select number, kind, corpus, tf, len, term from fresh),
  lens as (select number, max(len) as len from fresh group by number),
  grown as (
    select m.corpus, count(*)::int as docs, coalesce(sum(l.len), 0) as words
      from became m left join lens l on l.number = m.number where m.state = 'active' and m.number = any (v_changed) group by m.corpus order by m.corpus)
  update corpus c set docs = c.docs + g.docs, words = c.words + g.words from grown g where c.id = g.corpus;
  return null;
end $$;

create trigger search_in after insert on memory referencing new table as come for each statement execute function knowledge_post_in();
create trigger search_out after delete on memory referencing old table as gone for each statement execute function knowledge_post_out();
create trigger search_change after update on memory referencing old table as was new table as became
  for each statement execute function knowledge_post_change();

-- Count the frequent terms of a corpus anew when it has changed by more than a tenth since.
create function knowledge_weigh(p_corpus smallint) returns boolean language plpgsql security definer set search_path = public, pg_temp as $$
declare v_docs int; v_weighed int;
begin
  select docs, weighed_docs into v_docs, v_weighed from corpus where id = p_corpus for update;
  if v_docs is null or abs(v_docs - v_weighed) * 10 <= v_docs then return false; end if;
  delete from frequent_term where corpus = p_corpus;
  insert into frequent_term (term, corpus, docs)
  select term, p_corpus, count(*) from posting where corpus = p_corpus group by term having count(*) >= 256;
  update corpus set weighed_docs = v_docs where id = p_corpus;
  return true;
end $$;

-- ── asking ──

-- The terms of a query with their weights: inverse document frequencies in these corpora together. Terms that would make
-- the search read very many postings are left out as long as two rarer ones remain. Words that nothing holds count too: what
-- is asked in them is known by nobody.
create function knowledge_terms(p_query text, p_corpora smallint[], p_most int default 30000)
returns table (term text, docs bigint, idf real, kept boolean) language plpgsql stable as $$
declare v_docs bigint;
begin
  select greatest(sum(c.docs), 1) into v_docs from corpus c where c.id = any (p_corpora);
  return query
    with asked as materialized (select w.term from knowledge_words(left(p_query, 20000)) w limit 400),
    known as materialized (
      select a.term, f.docs::bigint as docs from asked a
        left join lateral (select sum(t.docs) as docs from frequent_term t where t.term = a.term and t.corpus = any (p_corpora)) f on true),
    counted as materialized (
      select k.term, coalesce(k.docs, (select count(*) from posting p where p.term = k.term and p.corpus = any (p_corpora))) as docs from known k),
    weighed as (
      select c.term, c.docs, ln(1 + (greatest(v_docs, c.docs, 1) - greatest(c.docs, 1) + 0.5) / (greatest(c.docs, 1) + 0.5))::real as idf,
             row_number() over w as place, sum(c.docs) over w as read
        from counted c window w as (order by c.docs = 0, c.docs, c.term rows unbounded preceding))
    select w.term, w.docs, w.idf, w.docs > 0 and (w.place <= 2 or (w.read <= p_most and w.place <= 64)) from weighed w order by w.place;
end $$;

-- BM25 (k1 1.2, b 0.75) over the postings. `coverage`: the share of the query's weight that the memory holds, 0 to 1. There every word
-- weighs something: where little is known, how rare a word is says nothing yet.
create function knowledge_match(p_query text, p_corpora smallint[], p_limit int, p_kinds memory_kind[] default null, p_tags text[] default null,
                                p_path text default null, p_since timestamptz default null, p_until timestamptz default null)
returns table (memory int, score real, coverage real) language plpgsql stable as $$
declare v_terms text[]; v_idfs real[]; v_all real; v_len real;
begin
  select array_agg(t.term) filter (where t.kept), array_agg(t.idf) filter (where t.kept), sum(greatest(t.idf, 1))
    into v_terms, v_idfs, v_all from knowledge_terms(p_query, p_corpora) t;
  if v_terms is null then return; end if;
  select greatest(sum(c.words)::real / greatest(sum(c.docs), 1), 1) into v_len from corpus c where c.id = any (p_corpora);
  if p_tags is null and p_path is null and p_since is null and p_until is null then
    return query
      select p.memory, sum(w.idf * p.tf * 2.2 / (p.tf + 0.3 + 0.9 * p.len / v_len))::real as s, (sum(greatest(w.idf, 1)) / v_all)::real
        from unnest(v_terms, v_idfs) as w (term, idf) join posting p on p.term = w.term
       where p.corpus = any (p_corpora) and (p_kinds is null or p.kind = any (p_kinds))
       group by p.memory order by s desc, p.memory limit p_limit;
  else
    return query
      select p.memory, sum(w.idf * p.tf * 2.2 / (p.tf + 0.3 + 0.9 * p.len / v_len))::real as s, (sum(greatest(w.idf, 1)) / v_all)::real
        from unnest(v_terms, v_idfs) as w (term, idf) join posting p on p.term = w.term join public.memory m on m.number = p.memory
       where p.corpus = any (p_corpora) and (p_kinds is null or p.kind = any (p_kinds)) and (p_tags is null or m.tags @> p_tags)
         and (p_path is null or m.path like p_path) and (p_since is null or m.created_at >= p_since) and (p_until is null or m.created_at < p_until)
       group by p.memory order by s desc, p.memory limit p_limit;
  end if;
end $$;

-- How good a memory has proved: 0.5 before anything is known, towards the share of runs that succeeded with it.
create function knowledge_worth(p_uses int, p_wins int) returns real language sql immutable parallel safe as $$
  select ((p_wins + 2)::real / (p_uses + 4))
$$;
