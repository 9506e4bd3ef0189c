-- Runs, what they say, what they are asked and told, and the judgement on them.

create table run (
  number bigint generated always as identity primary key,
  id uuid not null unique,
  task bigint not null references task (number) on delete cascade,
  attempt smallint not null,
  project text collate "C" not null,
  agent text collate "C" not null,
  engine bigint not null,
  lease_token bigint not null,              -- the fence of the claim that this run belongs to
  status run_status not null default 'starting',
  mark text not null,                       -- in the environment of everything that the run starts
  folder text not null,                     -- on the engine's host: spec, prompt, spools, exit record
  branch text,
  worktree text,
  base_commit text,
  head_commit text,
  pid int,                                  -- of the keeper
  session text,                             -- the agent program's own name of its conversation, to take it up again
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  exit_code int,
  verdict text,
  reason text,
  cost_usd numeric(14, 6) not null default 0,
  tokens_input bigint not null default 0,
  tokens_output bigint not null default 0,
  tokens_cache_read bigint not null default 0,
  tokens_cache_write bigint not null default 0,
  files_changed int not null default 0,
  insertions int not null default 0,
  deletions int not null default 0,
  events int not null default 0,            -- the last number given; counts from 1 without a gap
  shipped_out bigint not null default 0,    -- bytes of the spools that are events already, moved in the same transaction as these
  shipped_err bigint not null default 0,
  inputs int not null default 0,            -- the last number given in run_input
  adoptions smallint not null default 0,    -- times it was taken up after a crash without having moved on since
  unique (task, attempt)
) with (fillfactor = 70);
create index run_live on run (engine) where status in ('starting', 'running', 'verifying');
create index run_recent on run (started_at);
create trigger audit after insert or delete or update of status, verdict, reason, exit_code, branch, base_commit, head_commit, session on run
  for each row execute function qd_audit('id', 'events', 'shipped_out', 'shipped_err', 'inputs', 'cost_usd', 'tokens_input', 'tokens_output',
    'tokens_cache_read', 'tokens_cache_write', 'mark', 'folder');

-- Partitioned by time and pruned by dropping partitions, never by DELETE.
create table event (
  run bigint not null,
  seq int not null,
  at timestamptz not null default clock_timestamp(),
  kind text not null,
  text text not null default '',
  data jsonb not null default '{}'
) partition by range (at);
create table event_default partition of event default;
create index event_run on event (run, seq);

-- Partitions of a month each, for this and the next two; those that end before now - p_keep are dropped. What finds no partition goes into
-- the default one, so nothing is ever refused. Runs as its owner: no role may make or drop tables.
create function event_maintain(p_keep interval default null) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare v_from timestamptz; v_part record;
begin
  if not pg_try_advisory_xact_lock(hashtext('qd event partitions')) then return; end if;
  for i in 0..2 loop
    v_from := date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + make_interval(months => i);
    if to_regclass(to_char(v_from at time zone 'UTC', '"event_"YYYY_MM')) is null
       and not exists (select 1 from event_default where at >= v_from and at < v_from + interval '1 month') then
      execute format('create table %I partition of event for values from (%L) to (%L)',
                     to_char(v_from at time zone 'UTC', '"event_"YYYY_MM'), v_from, v_from + interval '1 month');
    end if;
  end loop;
  if p_keep is null then return; end if;
  for v_part in
    select c.relname from pg_inherits h join pg_class c on c.oid = h.inhrelid
     where h.inhparent = 'event'::regclass and c.relname ~ '^event_[0-9]{4}_[0-9]{2}$'
       and to_timestamp(substr(c.relname, 7), 'YYYY_MM') + interval '1 month' < now() - p_keep
  loop
    execute format('drop table %I', v_part.relname);
  end loop;
end $$;
select event_maintain();

-- What a person or the engine tells a run: delivered by its engine to its keeper, in order, each once (the keeper remembers the last number).
create table run_input (
  run bigint not null references run (number) on delete cascade,
  seq int not null,
  kind text not null check (kind in ('message', 'answer', 'stop', 'pause', 'resume', 'interrupt')),
  data jsonb not null default '{}',
  actor text not null,
  created_at timestamptz not null default clock_timestamp(),
  delivered_at timestamptz,
  primary key (run, seq)
);
create index run_input_open on run_input (run) where delivered_at is null;

create table question (
  number bigint generated always as identity primary key,
  id uuid not null unique default qd_uuid7(),
  run bigint not null references run (number) on delete cascade,
  task bigint not null,
  project text collate "C" not null,
  ref text not null,                        -- the agent's own name of it
  kind text not null default 'question' check (kind in ('question', 'permission')),
  text text not null,
  options jsonb not null default '[]',
  data jsonb not null default '{}',
  status text not null default 'open' check (status in ('open', 'answered', 'expired')),
  answer text,
  decision text check (decision in ('allow', 'deny', 'always')),
  answered_by text,
  asked_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz,
  unique (run, ref)
);
create index question_open on question (asked_at) where status = 'open';
create trigger audit after insert or delete or update on question for each row execute function qd_audit('id', 'data');

-- Always allow: what a person decided once for a project.
create table permission (
  project text collate "C" not null references project (id) on delete cascade,
  rule text not null,                       -- tool name, or tool name and a prefix of what it is asked to do
  actor text not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (project, rule)
);
create trigger audit after insert or delete or update on permission for each row execute function qd_audit('project');

-- One command of the gates of a run, and how it ended. The last 100 kB of the output are kept here, all of it in the run's folder.
create table gate (
  run bigint not null references run (number) on delete cascade,
  round smallint not null,
  position smallint not null,
  command text not null,
  status text not null check (status in ('passed', 'failed', 'timeout')),
  exit_code int,
  seconds real not null,
  output text not null default '',
  at timestamptz not null default clock_timestamp(),
  primary key (run, round, position)
);

create table review (
  number bigint generated always as identity primary key,
  task bigint not null references task (number) on delete cascade,
  run bigint not null references run (number) on delete cascade,
  status text not null default 'open' check (status in ('open', 'approved', 'merged', 'changes_requested', 'rejected', 'conflict', 'superseded')),
  note text,
  actor text,
  merge_commit text,
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  merged_at timestamptz
);
create unique index review_open on review (task) where status in ('open', 'approved');
create index review_approved on review (decided_at) where status = 'approved';
create trigger audit after insert or delete or update on review for each row execute function qd_audit('task');
