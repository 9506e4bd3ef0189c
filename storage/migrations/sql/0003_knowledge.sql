-- What the crew knows. One store: `memory`, with a table of its own columns for each structured kind.
--
-- Three rules carry it:
--   K1  Search reads `posting` and `embedding` alone. Both hold active memories and nothing else: triggers on `memory` keep them so in the
--       transaction of the change, so what is removed or superseded is found by nobody from its commit on.
--   K2  Words are split, stemmed and counted in one place, knowledge_words(); a query and a text cannot differ in it.
--   K3  Counters of use stand in columns that no index and no trigger of search looks at.

create extension if not exists vector;

create type memory_kind as enum ('code', 'documentation', 'requirement', 'pattern', 'decision', 'lesson', 'standard');

-- One body of knowledge: a project's, or what holds for all of them (project null). Its size is what BM25 normalises by.
create table corpus (
  id smallint generated always as identity primary key,
  project text collate "C" unique nulls not distinct,
  docs int not null default 0,               -- active memories
  words bigint not null default 0,           -- their lengths together
  branch text,                               -- what of the repository is indexed
  head text,                                 -- the commit that is indexed whole
  target text,                               -- the commit that is being indexed
  files int not null default 0,              -- files of the target, and how many of them are done
  done int not null default 0,
  started_at timestamptz,
  indexed_at timestamptz,
  weighed_docs int not null default 0        -- size when frequent_term was last counted
) with (fillfactor = 50);

create function knowledge_corpus(p_project text) returns smallint language plpgsql as $$
declare v_id smallint;
begin
  loop
    select id into v_id from corpus where project is not distinct from p_project;
    if found then return v_id; end if;
    insert into corpus (project) values (p_project) on conflict do nothing;
  end loop;
end $$;

create function knowledge_project() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'DELETE' then delete from corpus where project = old.id;
  elsif new.id <> old.id then update corpus set project = new.id where project = old.id;
  end if;
  return null;
end $$;
create trigger knowledge after delete or update of id on project for each row execute function knowledge_project();

create table memory (
  number int generated always as identity primary key,
  id uuid not null unique default qd_uuid7(),
  corpus smallint not null references corpus (id) on delete cascade,
  kind memory_kind not null,
  state text not null default 'active'
    check (state in ('proposed', 'active', 'deprecated', 'superseded', 'removed', 'refused', 'deleted')),
  title text not null check (title <> ''),
  content text not null,
  origin text not null default 'person' check (origin in ('person', 'agent', 'file', 'gate', 'run', 'review', 'pull_request', 'import', 'consolidation')),
  source text not null default '',           -- where it comes from, in words that lead there: path@commit, task #7, a person's name
  path text collate "C",                     -- the file it is about
  first_line int,
  last_line int,
  tags text[] not null default '{}',
  hash uuid not null generated always as (md5(title || e'\n' || content)::uuid) stored,
  valid_from timestamptz not null default clock_timestamp(),
  invalid_at timestamptz,
  superseded_by int references memory (number) on delete set null,
  note text,                                 -- why it is in this state
  cold boolean not null default false,       -- long unused: found by an explicit search, never told to a run by itself
  uses int not null default 0,               -- runs that ended after they were told of it; wins: those that succeeded
  wins int not null default 0,
  last_used_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  check ((state in ('active', 'proposed')) = (invalid_at is null))
) with (fillfactor = 85);
create index memory_list on memory (corpus, kind, number) where origin <> 'file';
create index memory_path on memory (corpus, path collate "C") where origin = 'file' and state = 'active';
create index memory_ended on memory (invalid_at) where origin = 'file' and invalid_at is not null;
create index memory_hash on memory (corpus, kind, hash) where state in ('active', 'proposed');
-- What is read from repositories has its history in git: only what people, runs and agents say is on the trail.
create trigger audit_insert after insert on memory for each row when (new.origin <> 'file')
  execute function qd_audit('id', 'uses', 'wins', 'last_used_at', 'updated_at', 'number');
create trigger audit_delete after delete on memory for each row when (old.origin <> 'file')
  execute function qd_audit('id', 'uses', 'wins', 'last_used_at', 'updated_at', 'number');
create trigger audit_update after update of corpus, kind, state, title, content, tags, source, path, invalid_at, superseded_by, note on memory
  for each row when (old.origin <> 'file') execute function qd_audit('id', 'uses', 'wins', 'last_used_at', 'updated_at', 'number');

create table pattern (
  memory int primary key references memory (number) on delete cascade,
  slug text collate "C" not null unique check (slug ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  category text not null default 'general',  -- component, api, database, workflow, …
  projects text[] not null default '{}',     -- where it applies; empty: everywhere in its corpus
  stacks text[] not null default '{}',       -- empty: any
  description text not null default '',
  template text not null,                    -- with {{placeholders}}
  example text
);
create trigger audit after insert or update or delete on pattern for each row execute function qd_audit('slug', 'memory');

create table decision (
  memory int primary key references memory (number) on delete cascade,
  type text not null default 'approach',     -- architecture, library, pattern, approach
  question text not null,
  chosen text not null,
  alternatives text[] not null default '{}',
  reasoning text not null default '',
  outcome text check (outcome in ('success', 'partial', 'failed', 'reverted')),
  outcome_note text,
  lesson text,
  repeat boolean not null default true,      -- whether it should be decided so again
  task bigint,
  run bigint,
  pull_request int,
  feedback text,
  resolved_at timestamptz
);
create index decision_task on decision (task) where task is not null;
create trigger audit after insert or update or delete on decision for each row execute function qd_audit('memory');

create table lesson (
  memory int primary key references memory (number) on delete cascade,
  corpus smallint not null references corpus (id) on delete cascade,
  type text not null default 'other',        -- typecheck, runtime, test, lint, build, logic, review, other
  error text not null,
  signature uuid not null,                   -- of the error without numbers, paths, addresses: the same trouble is one lesson
  context text not null default '',
  command text,                              -- the check that failed
  fix text,
  worked boolean,
  rule text,                                 -- how to avoid it
  unique (corpus, signature)
);
create trigger audit after insert or update or delete on lesson for each row execute function qd_audit('memory', 'corpus', 'signature');

-- Each time that the trouble of a lesson was met by a run, and what became of it.
create table sighting (
  lesson int not null references lesson (memory) on delete cascade,
  run bigint not null references run (number) on delete cascade,
  task bigint not null,
  head text,                                 -- the commit that had the trouble, and the one that no longer has it
  mended_head text,
  fix text,
  worked boolean,
  at timestamptz not null default clock_timestamp(),
  primary key (lesson, run)
);
create index sighting_open on sighting (task) where worked is null;
create index sighting_run on sighting (run);

-- ── what a run was told ──

create table run_context (
  run bigint primary key references run (number) on delete cascade,
  budget int not null,                       -- tokens that there was room for, and that were used
  tokens int not null,
  considered int not null,
  items jsonb not null,                      -- all that was told, in order: section, title, source, why, tokens, text
  warnings jsonb not null default '[]',      -- instructions found in text of the repository
  at timestamptz not null default clock_timestamp()
);
create table injection (
  run bigint not null references run (number) on delete cascade,
  memory int not null references memory (number) on delete cascade,
  credit text check (credit in ('won', 'lost')),
  primary key (run, memory)
);
create index injection_memory on injection (memory, run);

-- A run that ends credits or debits what it was told; a later word on its change corrects that. Runs that never were judged count as nothing.
create function knowledge_credit(p_run bigint, p_credit text) returns int language plpgsql security definer set search_path = public, pg_temp as $$
declare v_count int;
begin
  perform 1 from memory where number in (select memory from injection where run = p_run and credit is distinct from p_credit)
    order by number for no key update;
  with before as (select memory, credit from injection where run = p_run and credit is distinct from p_credit for update),
  marked as (update injection i set credit = p_credit from before b where i.run = p_run and i.memory = b.memory),
  counted as (
    update memory m set uses = m.uses + (b.credit is null)::int,
           wins = greatest(0, m.wins + (p_credit = 'won')::int - (b.credit is not distinct from 'won')::int), last_used_at = clock_timestamp()
      from before b where m.number = b.memory returning 1)
  select count(*) into v_count from counted;
  return v_count;
end $$;

create function knowledge_run_ended() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if exists (select 1 from injection where run = new.number) then
    perform knowledge_credit(new.number, case new.status when 'succeeded' then 'won' else 'lost' end);
  end if;
  return null;
end $$;
create trigger knowledge after update of status on run for each row
  when (new.status in ('succeeded', 'failed') and old.status in ('starting', 'running', 'verifying') and (new.status = 'succeeded' or new.verdict = 'failed'))
  execute function knowledge_run_ended();

create function knowledge_reviewed() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform knowledge_credit(new.run, case new.status when 'merged' then 'won' else 'lost' end);
  return null;
end $$;
create trigger knowledge after update of status on review for each row
  when (new.status <> old.status and new.status in ('merged', 'rejected', 'changes_requested'))
  execute function knowledge_reviewed();

-- ── the index of a repository ──

create table indexed_file (
  corpus smallint not null references corpus (id) on delete cascade,
  path text collate "C" not null,
  blob text not null,
  items int not null default 0,
  skipped text,                              -- why nothing of it is indexed
  primary key (corpus, path)
);
