-- Roles, actors and the audit trail: what every table of state stands on.
--
-- Database roles are shared by all databases of a server, so they may exist already or be created by a
-- sibling at this very moment. They cannot log in: a transaction takes one on with SET LOCAL ROLE.
do $$
declare v_role text;
begin
  foreach v_role in array array['qd_admin', 'qd_supervisor', 'qd_viewer', 'qd_agent', 'qd_engine'] loop
    begin
      if not exists (select 1 from pg_roles where rolname = v_role) then
        execute format('create role %I nologin', v_role);
      end if;
    exception when duplicate_object or unique_violation then null;
    end;
    if not pg_has_role(current_user, v_role, 'member') then
      begin
        execute format('grant %I to current_user', v_role);
      exception when unique_violation then null;
      end;
    end if;
  end loop;
end $$;

grant usage on schema public to qd_admin, qd_supervisor, qd_viewer, qd_agent, qd_engine;

-- Version 7 of RFC 9562: 48 bits of Unix milliseconds, then random bits. Postgres has one of its own from 18 on only.
create function qd_uuid7() returns uuid language sql volatile parallel safe as $$
  select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
           placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  role text not null,
  kind text not null,                       -- the table of state: task, project, run, …
  key text not null,                        -- what a person calls the row: its number, id or name
  action text not null,                     -- insert, update, delete: what a trigger was fired by
  before jsonb,                             -- on update only the columns that changed
  after jsonb
);
create index audit_key on audit (kind, key, id);
create index audit_at on audit using brin (at);

-- One trigger for every table of state. Arguments: the column that names the row, then columns to leave out
-- (secrets, and long texts that have a history of their own). It runs as its owner so that no role needs to
-- write to the trail, and nobody may change or delete what it holds.
create function qd_audit() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
declare
  v_old jsonb; v_new jsonb; v_before jsonb; v_after jsonb;
begin
  if tg_op <> 'INSERT' then v_old := to_jsonb(old) - tg_argv[1:]; end if;
  if tg_op <> 'DELETE' then v_new := to_jsonb(new) - tg_argv[1:]; end if;
  if tg_op = 'UPDATE' then
    select jsonb_object_agg(n.key, v_old -> n.key), jsonb_object_agg(n.key, n.value) into v_before, v_after
      from jsonb_each(v_new) n where n.value is distinct from v_old -> n.key;
    if v_after is null then return null; end if;
  else
    v_before := v_old; v_after := v_new;
  end if;
  insert into audit (actor, role, kind, key, action, before, after)
  values (coalesce(nullif(current_setting('qd.actor', true), ''), session_user),
          coalesce(nullif(current_setting('role', true), 'none'), 'owner'),
          tg_table_name, coalesce(v_new, v_old) ->> tg_argv[0], lower(tg_op), v_before, v_after);
  return null;
end $$;

create table setting (
  key text primary key,
  value jsonb not null,
  updated_at timestamptz not null default now()
);
create trigger audit after insert or update or delete on setting for each row execute function qd_audit('key', 'updated_at');

create table project (
  id text collate "C" primary key check (id ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  name text not null,
  repo text not null,                        -- as the person gave it: a path, a URL, or owner/name on GitHub
  path text not null,                        -- where the repository lies on the engine's host
  stack text,
  priority smallint not null default 3 check (priority between 1 and 5),
  base text,                                 -- base branch; null: the repository's default branch
  verify text[] not null default '{}',
  auto_merge boolean not null default false,
  merge_method text not null default 'merge' check (merge_method in ('merge', 'fast-forward')),
  agent text collate "C",                    -- who works here when a task names nobody
  primary_colour text,
  accent_colour text,
  extra jsonb not null default '{}',         -- fields of a projects.json that are not ours, kept for the export
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create trigger audit after insert or update or delete on project for each row execute function qd_audit('id', 'updated_at');

create table agent (
  name text collate "C" primary key check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  id uuid not null unique default qd_uuid7(),
  adapter text not null,
  model text,
  command text,
  role text,
  capabilities text[] not null default '{}',
  enabled boolean not null default true,
  max_parallel int check (max_parallel between 1 and 1000), -- null: as many as the engines allow
  env jsonb not null default '{}',
  api_key_hash text,
  last_seen timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create trigger audit after insert or update or delete on agent
  for each row execute function qd_audit('name', 'updated_at', 'last_seen', 'api_key_hash');

-- The lease of all that an engine holds is this one row: a heartbeat is one update, whatever runs.
create table engine (
  id bigint generated always as identity primary key,
  name text not null unique,                 -- host and state folder: the identity that outlives the process
  host text not null,
  pid int not null,
  version text not null,
  state text not null default 'running' check (state in ('running', 'draining', 'stopped', 'dead')),
  wanted text not null default 'run' check (wanted in ('run', 'stop', 'stop_runs')),
  max_parallel int not null default 4 check (max_parallel >= 0),
  started_at timestamptz not null default now(),
  lease_until timestamptz not null
) with (fillfactor = 50);
create trigger audit after insert or delete or update of state, wanted, pid, max_parallel on engine
  for each row execute function qd_audit('name', 'lease_until');
