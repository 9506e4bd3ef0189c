-- The queue. Three rules carry it:
--   R1  The ready index holds only tasks that can start now. Dependencies and times are resolved into the
--       status before the claim, and what a whole project or agent cannot do is read from its lane.
--   R2  Everything per project that changes with each claim is one narrow row (`load`), updated in place: no index
--       on its hot columns, no foreign key to it.
--   R3  Nobody waits for a load row while holding another; nobody waits for a task while holding a load
--       row (SKIP LOCKED); blocked children are locked in the order of their numbers.

create type task_status as enum ('pending', 'blocked', 'waiting', 'in_progress', 'review', 'completed', 'failed', 'cancelled');
create type task_wait as enum ('time', 'person', 'budget');
create type run_status as enum ('starting', 'running', 'verifying', 'succeeded', 'failed', 'cancelled', 'lost');

create table load (
  project text collate "C" primary key,
  paused boolean not null default false,
  max_parallel int not null default 2 check (max_parallel >= 0),
  running int not null default 0 check (running >= 0),
  last_claim timestamptz not null default '-infinity'      -- fairness within a priority: least recently served first
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);
create trigger audit after insert or delete or update of paused, max_parallel on load
  for each row execute function qd_audit('project', 'running', 'last_claim');

-- The ready tasks of one project that want one agent ('' for whoever is free). `head` is a hint of the best ready
-- priority: it chooses the lane, never the task. Too good heals at the claim, too bad in task_touch and task_sweep.
create table lane (
  project text collate "C" not null,
  agent text collate "C" not null,
  head smallint,
  primary key (project, agent)
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 0);

-- One row for each thing that an agent with a limit may do at once. A claim takes a free one, locking no other:
-- a counter would make every claim of every project wait for one row.
create table agent_slot (
  agent text collate "C" not null references agent (name) on delete cascade,
  slot int not null,
  task bigint,
  primary key (agent, slot)
) with (fillfactor = 50);
create index agent_slot_task on agent_slot (task) where task is not null;

create table task (
  number bigint generated always as identity primary key,
  project text collate "C" not null,
  agent text collate "C" not null default '',
  priority smallint not null default 3 check (priority between 1 and 5),
  status task_status not null,
  wait task_wait,
  attempts smallint not null default 0,                    -- runs begun
  failures smallint not null default 0,                    -- runs that were judged and failed
  max_attempts smallint not null default 3 check (max_attempts > 0),
  rescues smallint not null default 0,                     -- times its engine died under it
  waiting_on int not null default 0,                       -- parents that are not completed
  lease_token bigint not null default 0,                   -- the fence: +1 on every claim and rescue
  engine bigint,
  not_before timestamptz,
  deadline timestamptz,
  cancel_requested boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  claimed_at timestamptz,
  finished_at timestamptz
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.05);
create index task_ready on task (project, agent, priority desc, number) where status = 'pending';
create index task_due on task (not_before) where status = 'waiting' and wait = 'time';
create index task_deadline on task (deadline) where deadline is not null and status in ('pending', 'blocked', 'waiting', 'in_progress');
create index task_held on task (engine) where status = 'in_progress';
create index task_project on task (project, number);
create index task_status on task (status, number);

-- What is long and does not change with the status: a change of state never rewrites it.
create table task_body (
  task bigint primary key references task (number) on delete cascade,
  id uuid not null unique default qd_uuid7(),
  title text not null,
  description text not null default '',
  parent bigint,
  paths text[] not null default '{}',
  branch text,
  on_failure text not null default 'fail' check (on_failure in ('fail', 'cancel')),  -- what becomes of it when a parent fails
  max_cost_usd numeric(14, 6) check (max_cost_usd > 0),
  reason text,                                             -- why it waits or failed, in words
  feedback text,                                           -- what the next attempt is told
  cron text,
  extra jsonb not null default '{}'
);
create index task_body_parent on task_body (parent) where parent is not null;

create table task_after (
  parent bigint not null references task (number) on delete cascade,
  child bigint not null references task (number) on delete cascade,
  primary key (parent, child)
);
create index task_after_child on task_after (child);

-- The audit of tasks has a trigger of its own: it is on the path of every claim and knows what matters.
create function qd_audit_task() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
declare v_before jsonb; v_after jsonb;
begin
  if tg_op <> 'INSERT' then
    v_before := jsonb_strip_nulls(jsonb_build_object('status', old.status, 'wait', old.wait, 'priority', old.priority, 'agent', old.agent,
      'engine', old.engine, 'token', old.lease_token, 'not_before', old.not_before, 'deadline', old.deadline, 'max_attempts', old.max_attempts,
      'cancel_requested', nullif(old.cancel_requested, false)));
  end if;
  if tg_op <> 'DELETE' then
    v_after := jsonb_strip_nulls(jsonb_build_object('status', new.status, 'wait', new.wait, 'priority', new.priority, 'agent', new.agent,
      'engine', new.engine, 'token', new.lease_token, 'not_before', new.not_before, 'deadline', new.deadline, 'max_attempts', new.max_attempts,
      'cancel_requested', nullif(new.cancel_requested, false)));
  end if;
  if v_before = v_after then return null; end if;
  insert into audit (actor, role, kind, key, action, before, after)
  values (coalesce(nullif(current_setting('qd.actor', true), ''), session_user),
          coalesce(nullif(current_setting('role', true), 'none'), 'owner'),
          'task', case when tg_op = 'DELETE' then old.number else new.number end::text, lower(tg_op), v_before, v_after);
  return null;
end $$;

create trigger audit after insert or delete
  or update of status, wait, priority, agent, engine, lease_token, not_before, deadline, max_attempts, cancel_requested on task
  for each row execute function qd_audit_task();
create trigger audit after insert or update of title, description, parent, paths, branch, on_failure, max_cost_usd, reason, cron on task_body
  for each row execute function qd_audit('task', 'feedback', 'description');

-- ── making tasks ready ──────────────────────────────────────────────────────────────────────────────────────────

-- To be called after the transaction that made a task ready has committed: a long transaction must never hold a lane.
-- Usually a no-op.
create function task_touch(p_project text, p_agent text, p_priority int) returns void language sql as $$
  insert into lane (project, agent, head) values (p_project, p_agent, p_priority)
  on conflict (project, agent) do update set head = excluded.head where lane.head is null or lane.head < excluded.head
$$;

-- Heals the hint of lanes whose touch was lost with its process. Skips what is locked: its holder will set the hint.
create function task_sweep(p_projects text[] default null) returns int language sql as $$
  with ready as materialized (
    select l.project, l.agent, l.head,
           (select t.priority from task t where t.project = l.project and t.agent = l.agent and t.status = 'pending'
             order by t.priority desc, t.number limit 1) as best
      from lane l where p_projects is null or l.project = any(p_projects) for no key update skip locked),
  healed as (update lane l set head = r.best from ready r
              where l.project = r.project and l.agent = r.agent and r.best is not null and (r.head is null or r.best > r.head) returning 1)
  select count(*)::int from healed
$$;

-- ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- At most p_n tasks of one lane at one priority; the caller asks again until it gets none or its hands are full.
-- p_agents: the agents that this engine can run, the preferred one first.
create function task_claim(p_engine bigint, p_n int, p_agents text[]) returns setof task language plpgsql as $$
declare
  v_project text; v_lane text; v_room int; v_agents text[]; v_agent text; v_slots int[]; v_limit int; v_rows task[]; v_found boolean;
begin
  if exists (select 1 from setting where key = 'queue.paused' and value = 'true'::jsonb) then return; end if;
  select array_agg(a.name order by array_position(p_agents, a.name)) into v_agents from agent a
   where a.name = any(p_agents) and a.enabled
     and (a.max_parallel is null or exists (select 1 from agent_slot s where s.agent = a.name and s.task is null and s.slot <= a.max_parallel));
  if v_agents is null then return; end if;
  for i in 1..6 loop
    select l.project, l.agent, p.max_parallel - p.running into v_project, v_lane, v_room
      from load p join lane l on l.project = p.project
     where l.head is not null and not p.paused and p.running < p.max_parallel and (l.agent = '' or l.agent = any(v_agents))
     order by l.head desc, p.last_claim limit 1 for no key update of p skip locked;
    if not found then
      -- Every runnable project is locked by somebody: wait for one of them by its key. ORDER BY … LIMIT … FOR UPDATE
      -- without SKIP LOCKED would keep the locks of rows that it rejects, and deadlock.
      select l.project, l.agent into v_project, v_lane from load p join lane l on l.project = p.project
       where l.head is not null and not p.paused and p.running < p.max_parallel and (l.agent = '' or l.agent = any(v_agents))
       order by l.head desc, p.last_claim limit 1;
      if not found then return; end if;
      select p.max_parallel - p.running into v_room from load p
       where p.project = v_project and not p.paused and p.running < p.max_parallel for no key update;
      if not found then continue; end if;
    end if;
    v_limit := least(p_n, v_room);
    v_agent := case when v_lane = '' then v_agents[1] else v_lane end;
    v_slots := null;
    if exists (select 1 from agent a where a.name = v_agent and a.max_parallel is not null) then
      select array_agg(slot) into v_slots from (
        select s.slot from agent_slot s join agent a on a.name = s.agent
         where s.agent = v_agent and s.task is null and s.slot <= a.max_parallel
         limit v_limit for no key update of s skip locked) free;
      if v_slots is null then
        v_agents := array_remove(v_agents, v_agent);
        if v_agents = '{}' then return; end if;
        continue;
      end if;
      v_limit := least(v_limit, cardinality(v_slots));
    end if;
    with pick as materialized (
      select t.number, t.priority from task t
       where t.project = v_project and t.agent = v_lane and t.status = 'pending'
       order by t.priority desc, t.number limit v_limit for no key update of t skip locked),
    -- number = any(array(…)) is an InitPlan: a plan cached while the table was tiny cannot become a join with a sequential scan
    upd as (
      update task t set status = 'in_progress', attempts = t.attempts + 1, lease_token = t.lease_token + 1, engine = p_engine,
             claimed_at = clock_timestamp(), updated_at = clock_timestamp(), cancel_requested = false, wait = null, not_before = null
       where t.number = any(array(select number from pick where priority = (select max(priority) from pick))) returning t.*)
    select array_agg(upd), exists (select 1 from pick) into v_rows, v_found from upd;
    if v_rows is null then
      update lane set head = null where project = v_project and agent = v_lane; continue;
    end if;
    if v_slots is not null then
      update agent_slot s set task = r.number
        from (select (u).number, row_number() over () as n from unnest(v_rows) u) r
       where s.agent = v_agent and s.slot = v_slots[r.n];
    end if;
    update load set running = running + cardinality(v_rows), last_claim = clock_timestamp() where project = v_project;
    update lane set head = (select t.priority from task t where t.project = v_project and t.agent = v_lane and t.status = 'pending'
                             order by t.priority desc, t.number limit 1)
     where project = v_project and agent = v_lane;
    return query select r.number, r.project, v_agent, r.priority, r.status, r.wait, r.attempts, r.failures, r.max_attempts, r.rescues, r.waiting_on,
                        r.lease_token, r.engine, r.not_before, r.deadline, r.cancel_requested, r.created_at, r.updated_at, r.claimed_at, r.finished_at
                   from unnest(v_rows) r;
    return;
  end loop;
end $$;

-- ── what becomes of the children ────────────────────────────────────────────────────────────────────────────────

-- The parent is completed: count it off its children. Returns the lanes that may have something new.
create function task_release_children(p_number bigint) returns int language plpgsql as $$
declare v_kids bigint[]; v_ready task[]; v_lane record;
begin
  select array_agg(number) into v_kids from (
    select c.number from task_after d join task c on c.number = d.child
     where d.parent = p_number and c.status = 'blocked' order by c.number for no key update of c) k;
  if v_kids is null then return 0; end if;
  with u as (
    update task t set waiting_on = t.waiting_on - 1, updated_at = clock_timestamp(),
           status = case when t.waiting_on > 1 then 'blocked' when t.not_before > clock_timestamp() then 'waiting' else 'pending' end::task_status,
           wait = case when t.waiting_on <= 1 and t.not_before > clock_timestamp() then 'time'::task_wait end
     where t.number = any(v_kids) returning t.*)
  select array_agg(u) into v_ready from u where u.status = 'pending';
  if v_ready is null then return 0; end if;
  -- A lane that somebody holds is skipped: task_sweep heals it. Waiting here could deadlock.
  for v_lane in
    select l.project, l.agent, r.best from lane l
      join (select (t).project as project, (t).agent as agent, max((t).priority) as best from unnest(v_ready) t group by 1, 2) r
        on r.project = l.project and r.agent = l.agent
     where l.head is null or l.head < r.best for no key update of l skip locked
  loop
    update lane set head = v_lane.best where project = v_lane.project and agent = v_lane.agent;
  end loop;
  return cardinality(v_ready);
end $$;

-- The parent failed or was cancelled: so does everything that waits for it, as each child asks. One level per statement:
-- a recursive query has one snapshot and misses a grandchild that is added meanwhile.
create function task_fail_children(p_number bigint) returns int language plpgsql as $$
declare v_parents bigint[] := array[p_number]; v_kids bigint[]; v_total int := 0;
begin
  loop
    select array_agg(number) into v_kids from (
      select c.number from task c
       where c.number in (select d.child from task_after d where d.parent = any(v_parents)) and c.status in ('pending', 'blocked', 'waiting')
       order by c.number for no key update of c) k;
    exit when v_kids is null;
    update task_body b set reason = 'task #' || (select min(d.parent) from task_after d where d.child = b.task and d.parent = any(v_parents))
             || ', on which it depends, did not succeed' where b.task = any(v_kids);
    update task t set status = case when b.on_failure = 'cancel' then 'cancelled' else 'failed' end::task_status, wait = null,
           finished_at = clock_timestamp(), updated_at = clock_timestamp()
      from task_body b where b.task = t.number and t.number = any(v_kids);
    v_total := v_total + cardinality(v_kids);
    v_parents := v_kids;
  end loop;
  return v_total;
end $$;

-- ── the end of a run ────────────────────────────────────────────────────────────────────────────────────────────

-- What a claimed task becomes. Fenced by (number, in_progress, token): null when the caller's token is stale.
-- p_outcome: completed, review, retry (this attempt failed), failed, cancelled, wait (p_wait says for what).
-- Separate statements on purpose: under READ COMMITTED each has a new snapshot, so that an edge that was committed while this
-- waited for the row is seen.
create function task_finish(p_number bigint, p_token bigint, p_outcome text, p_reason text default null, p_retry_in interval default null,
                            p_wait task_wait default null, p_feedback text default null) returns task_status language plpgsql as $$
declare v task; v_status task_status; v_not_before timestamptz;
begin
  select t.* into v from task t where t.number = p_number and t.lease_token = p_token and t.status = 'in_progress' for no key update;
  if not found then return null; end if;
  v_status := case
    when p_outcome = 'completed' then 'completed'
    when v.cancel_requested or p_outcome = 'cancelled' then 'cancelled'
    when p_outcome = 'review' then 'review'
    when p_outcome = 'wait' then 'waiting'
    when p_outcome = 'retry' and v.failures + 1 < v.max_attempts then case when p_retry_in > interval '0' then 'waiting' else 'pending' end
    else 'failed' end;
  v_not_before := case when v_status = 'waiting' then clock_timestamp() + p_retry_in end;
  update task t set status = v_status, engine = null, not_before = v_not_before, updated_at = clock_timestamp(),
         failures = t.failures + (p_outcome in ('retry', 'failed'))::int,
         wait = case when v_status = 'waiting' then coalesce(p_wait, 'time') end,
         finished_at = case when v_status in ('completed', 'failed', 'cancelled') then clock_timestamp() end
   where t.number = p_number;
  update task_body b set reason = case when v_status in ('completed', 'pending') then null
                                       when v_status = 'cancelled' and v.cancel_requested then coalesce(b.reason, 'cancelled') else p_reason end,
         feedback = case when v_status in ('pending', 'waiting', 'review', 'failed') then coalesce(p_feedback, b.feedback) end
   where b.task = p_number;
  if v_status = 'completed' then perform task_release_children(p_number);
  elsif v_status in ('failed', 'cancelled') then perform task_fail_children(p_number);
  end if;
  update agent_slot set task = null where task = p_number;
  update load set running = running - 1 where project = v.project;
  if v_status = 'pending' then perform task_touch(v.project, v.agent, v.priority); end if;
  return v_status;
end $$;

-- What a task that nobody holds becomes: by a person (cancel, retry, approve, reject), by a timer, by a review.
-- Null when its status is not among p_from. To 'pending' means: as its dependencies and its time allow.
create function task_move(p_number bigint, p_from task_status[], p_to task_status, p_reason text default null, p_wait task_wait default null,
                          p_not_before timestamptz default null, p_feedback text default null, p_fresh boolean default false)
  returns task_status language plpgsql as $$
declare v task; v_status task_status := p_to; v_waiting int := 0;
begin
  if p_to = 'pending' then   -- serialises with the parents' end, as task_add does
    select count(*) filter (where s.status <> 'completed') into v_waiting from (
      select t.status from task t where t.number in (select d.parent from task_after d where d.child = p_number) order by t.number for share) s;
  end if;
  select t.* into v from task t where t.number = p_number and t.status = any(p_from) and t.status <> 'in_progress' for no key update;
  if not found then return null; end if;
  if p_to = 'pending' then
    v_status := case when v_waiting > 0 then 'blocked' when p_not_before > clock_timestamp() then 'waiting' else 'pending' end;
  end if;
  update task t set status = v_status, waiting_on = case when p_to = 'pending' then v_waiting else t.waiting_on end,
         wait = case when v_status = 'waiting' then coalesce(p_wait, 'time') end, not_before = case when p_to in ('pending', 'waiting') then p_not_before end,
         failures = case when p_fresh then 0 else t.failures end, rescues = case when p_fresh then 0 else t.rescues end,
         cancel_requested = false, updated_at = clock_timestamp(),
         finished_at = case when v_status in ('completed', 'failed', 'cancelled') then clock_timestamp() end
   where t.number = p_number;
  update task_body b set reason = p_reason, feedback = coalesce(p_feedback, b.feedback) where b.task = p_number;
  if v_status = 'completed' then perform task_release_children(p_number);
  elsif v_status in ('failed', 'cancelled') then perform task_fail_children(p_number);
  elsif v_status = 'pending' then perform task_touch(v.project, v.agent, v.priority);
  end if;
  return v_status;
end $$;

-- 'requested': it is being worked on; its engine ends the run and finishes the task. Null: it has ended, or is unknown.
create function task_cancel(p_number bigint, p_reason text) returns text language plpgsql as $$
declare v task_status;
begin
  select status into v from task where number = p_number for no key update;
  if v = 'in_progress' then
    update task set cancel_requested = true, updated_at = clock_timestamp() where number = p_number;
    update task_body set reason = p_reason where task = p_number;
    return 'requested';
  elsif v in ('pending', 'blocked', 'waiting', 'review') then
    perform task_move(p_number, array['pending', 'blocked', 'waiting', 'review']::task_status[], 'cancelled', p_reason);
    return 'cancelled';
  end if;
  return null;
end $$;

-- ── adding ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Adds the tasks of a JSON array, in its order; returns their numbers and ids in that order. FOR SHARE on the parents serialises
-- with task_finish: either a parent is completed already and is not counted, or its end waits for this and then sees the edge.
-- Fields: project, title; optional description, agent, priority, parent, after[], paths[], not_before, deadline, max_attempts,
-- max_cost_usd, cron, on_failure, extra.
create function task_add(p_tasks jsonb) returns table (number bigint, id uuid, status task_status) language plpgsql as $$
declare v_parents bigint[]; v_bad bigint; v_name text; v_numbers bigint[]; v_lane record;
begin
  select e ->> 'project' into v_name from jsonb_array_elements(p_tasks) e where not exists (select 1 from load l where l.project = e ->> 'project') limit 1;
  if found then raise exception 'no project "%"', v_name using errcode = 'QD404'; end if;
  select e ->> 'agent' into v_name from jsonb_array_elements(p_tasks) e
   where coalesce(e ->> 'agent', '') <> '' and not exists (select 1 from agent a where a.name = e ->> 'agent') limit 1;
  if found then raise exception 'no agent "%"', v_name using errcode = 'QD404'; end if;
  select array_agg(distinct a::bigint) into v_parents from jsonb_array_elements(p_tasks) e, jsonb_array_elements_text(coalesce(e -> 'after', '[]')) a;
  if v_parents is not null then
    perform 1 from task t where t.number = any(v_parents) order by t.number for share;
    select p into v_bad from unnest(v_parents) p where not exists (select 1 from task t where t.number = p) limit 1;
    if found then raise exception 'no task #%', v_bad using errcode = 'QD404'; end if;
    select t.number into v_bad from task t where t.number = any(v_parents) and t.status in ('failed', 'cancelled') order by 1 limit 1;
    if found then raise exception 'task #% did not succeed and cannot be waited for', v_bad using errcode = 'QD409'; end if;
  end if;
  with item as materialized (
    select nextval('task_number_seq') as number, ord, e.project, coalesce(nullif(e.agent, ''), p.agent, '') as agent, e.title, e.description,
           coalesce(e.priority, p.priority) as priority, e.parent, e.paths, e.after, e.not_before, e.deadline, e.max_attempts, e.max_cost_usd,
           e.cron, e.on_failure, e.extra
      from rows from (jsonb_to_recordset(p_tasks) as (project text, agent text, title text, description text, priority smallint, parent bigint, paths text[],
             after bigint[], not_before timestamptz, deadline timestamptz, max_attempts smallint, max_cost_usd numeric, cron text, on_failure text, extra jsonb))
           with ordinality as e(project, agent, title, description, priority, parent, paths, after, not_before, deadline, max_attempts, max_cost_usd, cron,
             on_failure, extra, ord) join project p on p.id = e.project),
  waits as (
    select i.number, count(*) as n from item i join task t on t.number = any(i.after) where t.status <> 'completed' group by i.number),
  head as (
    insert into task (number, project, agent, priority, status, wait, waiting_on, not_before, deadline, max_attempts) overriding system value
    select i.number, i.project, i.agent, i.priority,
           case when w.n > 0 then 'blocked' when i.not_before > clock_timestamp() then 'waiting' else 'pending' end::task_status,
           case when w.n is null and i.not_before > clock_timestamp() then 'time'::task_wait end,
           coalesce(w.n, 0), i.not_before, i.deadline, coalesce(i.max_attempts, 3)
      from item i left join waits w on w.number = i.number order by i.ord returning 1),
  body as (
    insert into task_body (task, title, description, parent, paths, on_failure, max_cost_usd, cron, extra)
    select i.number, i.title, coalesce(i.description, ''), i.parent, coalesce(i.paths, '{}'), coalesce(i.on_failure, 'fail'), i.max_cost_usd, i.cron,
           coalesce(i.extra, '{}') from item i order by i.ord returning 1),
  edges as (insert into task_after (parent, child) select distinct a, i.number from item i, unnest(i.after) a returning 1)
  select array_agg(i.number order by i.ord) into v_numbers from item i;
  for v_lane in
    select t.project, t.agent, max(t.priority) filter (where t.status = 'pending') as best from task t where t.number = any(v_numbers)
     group by 1, 2 order by 1, 2
  loop
    perform task_touch(v_lane.project, v_lane.agent, v_lane.best);
  end loop;
  return query select t.number, b.id, t.status from task t join task_body b on b.task = t.number where t.number = any(v_numbers)
    order by array_position(v_numbers, t.number);
end $$;

-- ── engines: leases, rescue ─────────────────────────────────────────────────────────────────────────────────────

-- An engine comes (back). The same name is the same engine: it takes up what it held, if nobody rescued it meanwhile.
create function engine_register(p_name text, p_host text, p_pid int, p_version text, p_max_parallel int, p_ttl interval) returns bigint language sql as $$
  insert into engine (name, host, pid, version, max_parallel, lease_until) values (p_name, p_host, p_pid, p_version, p_max_parallel, clock_timestamp() + p_ttl)
  on conflict (name) do update set host = excluded.host, pid = excluded.pid, version = excluded.version, max_parallel = excluded.max_parallel,
    state = 'running', wanted = 'run', started_at = clock_timestamp(), lease_until = excluded.lease_until
  returning id
$$;

-- False: this engine has been declared dead; what it holds may be somebody else's by now. p_held: the tasks that the process really
-- holds. A claim whose *reply* was lost leaves tasks with a live engine that does not know of them: they are given back.
create function engine_heartbeat(p_engine bigint, p_ttl interval, p_held bigint[]) returns boolean language plpgsql as $$
begin
  update engine set lease_until = clock_timestamp() + p_ttl where id = p_engine and lease_until > clock_timestamp() and state in ('running', 'draining');
  if not found then return false; end if;
  if exists (select 1 from task t where t.engine = p_engine and t.status = 'in_progress' and t.claimed_at < clock_timestamp() - interval '5 s' and t.number <> all(p_held)) then
    perform engine_release(p_engine, p_held, false, 3);
  end if;
  return true;
end $$;

-- Gives back tasks of an engine, one project per call (R3); ask until 0. p_crash: the engine died under them.
create function engine_release(p_engine bigint, p_keep bigint[], p_crash boolean, p_max_rescues int) returns int language plpgsql as $$
declare v_project text; v_rows task[]; v task;
begin
  select t.project into v_project from task t where t.engine = p_engine and t.status = 'in_progress' and t.number <> all(p_keep)
    and (p_crash or t.claimed_at < clock_timestamp() - interval '5 s') limit 1;
  if not found then return 0; end if;
  with l as materialized (
    select t.number from task t where t.engine = p_engine and t.status = 'in_progress' and t.project = v_project and t.number <> all(p_keep)
       and (p_crash or t.claimed_at < clock_timestamp() - interval '5 s') order by t.number for no key update),
  u as (
    update task t set lease_token = t.lease_token + 1, engine = null, rescues = t.rescues + p_crash::int, updated_at = clock_timestamp(),
           status = case when t.cancel_requested then 'cancelled' when p_crash and t.rescues + 1 >= p_max_rescues then 'failed' else 'waiting' end::task_status,
           wait = case when not t.cancel_requested and not (p_crash and t.rescues + 1 >= p_max_rescues) then 'time'::task_wait end,
           not_before = case when not t.cancel_requested and not (p_crash and t.rescues + 1 >= p_max_rescues)
                             then clock_timestamp() + case when p_crash then interval '500 ms' * power(4, t.rescues) else interval '0' end end,
           finished_at = case when t.cancel_requested or (p_crash and t.rescues + 1 >= p_max_rescues) then clock_timestamp() end
     where t.number = any(array(select number from l)) returning t.*)
  select array_agg(u) into v_rows from u;
  if v_rows is null then return 0; end if;
  update task_body b set reason = case (r).status when 'failed' then format('set aside: its engine died %s times under it', (r).rescues)
                                                  when 'waiting' then case when p_crash then 'its engine died; it starts again' else 'given back; it starts again' end
                                                  else coalesce(b.reason, 'cancelled') end
    from unnest(v_rows) r where b.task = (r).number;
  update run set status = 'lost', reason = coalesce(run.reason, 'its engine died'), finished_at = clock_timestamp()
    from unnest(v_rows) r where run.task = (r).number and run.status in ('starting', 'running', 'verifying');
  foreach v in array v_rows loop
    if v.status in ('failed', 'cancelled') then perform task_fail_children(v.number); end if;
  end loop;
  update agent_slot set task = null where task in (select (r).number from unnest(v_rows) r);
  update load set running = running - cardinality(v_rows) where project = v_project;
  return cardinality(v_rows);
end $$;

-- Declares engines dead whose lease ran out, and gives back what they held. Ask until 0.
create function engine_rescue(p_max_rescues int) returns int language plpgsql as $$
declare v_engine bigint; v_total int;
begin
  select e.id into v_engine from engine e where e.lease_until < clock_timestamp()
     and (e.state in ('running', 'draining') or exists (select 1 from task t where t.engine = e.id and t.status = 'in_progress'))
   limit 1 for no key update skip locked;
  if not found then return 0; end if;
  update engine set state = 'dead' where id = v_engine and state in ('running', 'draining');
  v_total := engine_release(v_engine, '{}', true, p_max_rescues);
  return greatest(v_total, 1);
end $$;

-- ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Tasks whose time has come become ready. Recurring ones are not touched here: their next date needs the engine.
create function task_promote(p_limit int default 500) returns int language plpgsql as $$
declare v_rows task[]; v_lane record;
begin
  with d as materialized (
    select t.number from task t where t.status = 'waiting' and t.wait = 'time' and t.not_before <= clock_timestamp()
       and not exists (select 1 from task_body b where b.task = t.number and b.cron is not null and t.attempts = 0)
     order by t.not_before limit p_limit for no key update skip locked),
  u as (update task t set status = 'pending', wait = null, not_before = null, updated_at = clock_timestamp()
         where t.number = any(array(select number from d)) returning t.*),
  r as (update task_body b set reason = null from u where b.task = u.number and b.reason is not null returning 1)
  select array_agg(u) into v_rows from u;
  if v_rows is null then return 0; end if;
  for v_lane in select (t).project as project, (t).agent as agent, max((t).priority) as best from unnest(v_rows) t group by 1, 2 order by 1, 2 loop
    perform task_touch(v_lane.project, v_lane.agent, v_lane.best);
  end loop;
  return cardinality(v_rows);
end $$;

-- Tasks that nobody holds and whose deadline has passed fail, one per call; ask until null. Returns the task's number.
create function task_expire() returns bigint language plpgsql as $$
declare v bigint;
begin
  select number into v from task where deadline <= clock_timestamp() and status in ('pending', 'blocked', 'waiting') limit 1 for no key update skip locked;
  if not found then return null; end if;
  perform task_move(v, array['pending', 'blocked', 'waiting']::task_status[], 'failed', 'its deadline passed');
  return v;
end $$;

-- ── the check of the books: every row must be 0, after each fault test and hourly in production ─────────────────

create function queue_reconcile() returns table (what text, n bigint) language sql stable as $$
  select 'running counter wrong', count(*) from load p where p.running <> (select count(*) from task t where t.project = p.project and t.status = 'in_progress')
  union all select 'waiting_on wrong', count(*) from task c where c.status = 'blocked'
    and c.waiting_on <> (select count(*) from task_after d join task p on p.number = d.parent where d.child = c.number and p.status <> 'completed')
  union all select 'lost wake-up', count(*) from task c where c.status = 'blocked'
    and not exists (select 1 from task_after d join task p on p.number = d.parent where d.child = c.number and p.status <> 'completed')
  union all select 'blocked for ever', count(*) from task c where c.status = 'blocked'
    and exists (select 1 from task_after d join task p on p.number = d.parent where d.child = c.number and p.status in ('failed', 'cancelled'))
  union all select 'started before its parent ended', count(*) from task c join task_after d on d.child = c.number join task p on p.number = d.parent
    where c.claimed_at is not null and c.status = 'in_progress' and (p.finished_at is null or c.claimed_at < p.finished_at)
  union all select 'ready but its lane does not say so', count(*) from (
      select t.project, t.agent, max(t.priority) as best from task t where t.status = 'pending' group by 1, 2) r
    left join lane l on l.project = r.project and l.agent = r.agent where coalesce(l.head, 0) < r.best
  union all select 'claimed twice', count(*) from (
      select 1 from audit a where a.kind = 'task' and a.after ->> 'status' = 'in_progress' group by a.key, a.after ->> 'token' having count(*) > 1) x
  union all select 'slot of a task that is not in progress', count(*) from agent_slot s left join task t on t.number = s.task
    where s.task is not null and t.status is distinct from 'in_progress'
  union all select 'in progress with no engine', count(*) from task where status = 'in_progress' and engine is null
$$;
