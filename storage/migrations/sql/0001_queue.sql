-- The queue. Three rules carry it:
--   R1  The ready index holds only tasks that can start now. Dependencies and times are resolved into the
--       status before the claim, and what a whole project or agent cannot do is read from its lane.
--   R2  Everything per project that changes with each claim is one narrow row (`load`), updated in place: no index
--       on its hot columns, no foreign key to it.
--   R3  Locks are waited for in one order: tasks (parents before children, else by number), then at most one load row,
--       then lanes by name. Who is out of that order (a claim, which begins with the load row) takes what is free and
--       waits for nothing (SKIP LOCKED).

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

-- A limit that shrinks leaves its slots: those above it are not given away any more.
create function agent_slots() returns trigger language plpgsql as $$
begin
  insert into agent_slot (agent, slot) select new.name, n from generate_series(1, new.max_parallel) n on conflict do nothing;
  return null;
end $$;
create trigger slots after insert or update of max_parallel on agent for each row execute function agent_slots();

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

-- The audit of tasks has functions of its own. A change is on the path of every claim: its function knows the columns that
-- matter, and names everything in full instead of setting a search path. What is missing was, or became, null.
create function qd_audit_task() returns trigger language plpgsql security definer as $$
declare v_before jsonb; v_after jsonb;
begin
  v_before := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('status', nullif(old.status, new.status), 'engine', nullif(old.engine, new.engine),
    'token', nullif(old.lease_token, new.lease_token)));
  v_after := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('status', nullif(new.status, old.status), 'engine', nullif(new.engine, old.engine),
    'token', nullif(new.lease_token, old.lease_token)));
  if (old.wait, old.priority, old.agent, old.not_before, old.deadline, old.max_attempts, old.cancel_requested)
     is distinct from (new.wait, new.priority, new.agent, new.not_before, new.deadline, new.max_attempts, new.cancel_requested) then
    v_before := v_before || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('wait', nullif(old.wait, new.wait),
      'priority', nullif(old.priority, new.priority), 'agent', nullif(old.agent, new.agent), 'not_before', nullif(old.not_before, new.not_before),
      'deadline', nullif(old.deadline, new.deadline), 'max_attempts', nullif(old.max_attempts, new.max_attempts),
      'cancel_requested', nullif(old.cancel_requested, new.cancel_requested)));
    v_after := v_after || pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('wait', nullif(new.wait, old.wait),
      'priority', nullif(new.priority, old.priority), 'agent', nullif(new.agent, old.agent), 'not_before', nullif(new.not_before, old.not_before),
      'deadline', nullif(new.deadline, old.deadline), 'max_attempts', nullif(new.max_attempts, old.max_attempts),
      'cancel_requested', nullif(new.cancel_requested, old.cancel_requested)));
  elsif v_before = '{}' and v_after = '{}' then return null;
  end if;
  insert into public.audit (actor, role, kind, key, action, before, after)
  values (coalesce(nullif(pg_catalog.current_setting('qd.actor', true), ''), session_user),
          coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), 'owner'), 'task', new.number::text, 'update', v_before, v_after);
  return null;
end $$;

-- Tasks come and go in batches: one statement for all of them.
create function qd_audit_tasks() returns trigger language plpgsql security definer as $$
begin
  insert into public.audit (actor, role, kind, key, action, before, after)
  select coalesce(nullif(pg_catalog.current_setting('qd.actor', true), ''), session_user),
         coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), 'owner'),
         'task', t.number::text, pg_catalog.lower(tg_op), case when tg_op = 'DELETE' then t.facts end, case when tg_op = 'INSERT' then t.facts end
    from (select number, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('project', project, 'status', status, 'wait', wait, 'priority', priority, 'agent', agent,
                 'not_before', not_before, 'deadline', deadline, 'max_attempts', max_attempts)) as facts from affected) t;
  return null;
end $$;

create function qd_audit_bodies() returns trigger language plpgsql security definer as $$
begin
  insert into public.audit (actor, role, kind, key, action, after)
  select coalesce(nullif(pg_catalog.current_setting('qd.actor', true), ''), session_user),
         coalesce(nullif(pg_catalog.current_setting('role', true), 'none'), 'owner'),
         'task_body', b.task::text, 'insert', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('id', b.id, 'title', b.title, 'parent', b.parent,
           'paths', nullif(b.paths, '{}'), 'on_failure', b.on_failure, 'max_cost_usd', b.max_cost_usd, 'cron', b.cron))
    from affected b;
  return null;
end $$;

create trigger audit after update of status, wait, priority, agent, engine, lease_token, not_before, deadline, max_attempts, cancel_requested
  on task for each row execute function qd_audit_task();
create trigger audit_new after insert on task referencing new table as affected for each statement execute function qd_audit_tasks();
create trigger audit_gone after delete on task referencing old table as affected for each statement execute function qd_audit_tasks();
create trigger audit after update of title, description, parent, paths, branch, on_failure, max_cost_usd, reason, cron on task_body
  for each row execute function qd_audit('task', 'feedback', 'description');
create trigger audit_new after insert on task_body referencing new table as affected for each statement execute function qd_audit_bodies();

-- ── making tasks ready ──────────────────────────────────────────────────────────────────────────────────────────

-- To be called last in the transaction that made a task ready, or after it. Usually the hint is good enough; then a KEY SHARE lock
-- keeps it so until the commit, which holds up neither other adders nor a rise, only lane_renew.
create function task_touch(p_project text, p_agent text, p_priority int) returns void language plpgsql as $$
declare v_head smallint;
begin
  if p_priority is null then return; end if;
  select head into v_head from lane where project = p_project and agent = p_agent for key share;
  if not found then
    insert into lane (project, agent, head) values (p_project, p_agent, p_priority)
    on conflict (project, agent) do update set head = greatest(lane.head, excluded.head);
  elsif v_head is null or v_head < p_priority then
    update lane set head = p_priority where project = p_project and agent = p_agent and (head is null or head < p_priority);
  end if;
end $$;

create function task_touch_all(p_ready task[]) returns void language sql as $$
  select task_touch(r.project, r.agent, r.best) from (
    select (t).project as project, (t).agent as agent, max((t).priority) as best from unnest(p_ready) t group by 1, 2 order by 1, 2) r
$$;

-- Heals the hint of lanes whose touch was lost with its process; how many.
create function task_sweep(p_projects text[] default null) returns int language plpgsql as $$
declare v_lane record; v_healed int := 0;
begin
  for v_lane in
    select r.project, r.agent, r.best from (
      select l.project, l.agent, l.head, (select t.priority from task t where t.project = l.project and t.agent = l.agent and t.status = 'pending'
               order by t.priority desc, t.number limit 1) as best
        from lane l where p_projects is null or l.project = any(p_projects)) r
     where r.best > coalesce(r.head, 0) order by 1, 2
  loop
    perform task_touch(v_lane.project, v_lane.agent, v_lane.best);
    v_healed := v_healed + 1;
  end loop;
  return v_healed;
end $$;

-- Says anew what is the best of a lane, after a claim. The lane is locked first and the tasks are read by a statement of its
-- own: everybody who touched the lane before has committed and is seen, everybody else touches it after. When somebody else
-- is at it the hint stays as it is, which is at worst too good.
create function lane_renew(p_project text, p_agent text) returns void language plpgsql as $$
begin
  perform 1 from lane where project = p_project and agent = p_agent for update skip locked;
  if not found then return; end if;
  update lane set head = (select t.priority from task t where t.project = p_project and t.agent = p_agent and t.status = 'pending'
                           order by t.priority desc, t.number limit 1)
   where project = p_project and agent = p_agent;
end $$;

-- ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- At most p_n tasks of one lane at one priority; the caller asks again until it gets none or its hands are full.
-- p_agents: the agents that this engine can run, the preferred one first.
-- Its plans are generic, for planning would cost more than all else, and go by indexes however small the tables were when they
-- were made; the condition on ctid lets the two short tables be read in one go nevertheless.
create function task_claim(p_engine bigint, p_n int, p_agents text[]) returns setof task language plpgsql
  set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_agents text[]; v_limited text[]; v_project text; v_lane text; v_head smallint; v_room int; v_name text; v_agent text; v_slots int[];
  v_taken bigint[]; v_priorities smallint[]; v_best smallint; v_held boolean := false; v_tried text[];
  v_stale_projects text[]; v_stale_lanes text[];
begin
  if exists (select 1 from setting where key = 'queue.paused' and value = 'true'::jsonb) then return; end if;
  select array_agg(a.name order by array_position(p_agents, a.name)), coalesce(array_agg(a.name) filter (where a.max_parallel is not null), '{}')
    into v_agents, v_limited from agent a
   where a.name = any(p_agents) and a.enabled
     and (a.max_parallel is null or a.max_parallel > (select count(*) from agent_slot s where s.agent = a.name and s.task is not null));
  if v_agents is null then return; end if;
  loop
    select l.project, l.agent, l.head, p.max_parallel - p.running into v_project, v_lane, v_head, v_room
      from load p join lane l on l.project = p.project
     where l.head is not null and not p.paused and p.running < p.max_parallel and (l.agent = '' or l.agent = any(v_agents))
       and (v_tried is null or l.project || '/' || l.agent <> all(v_tried)) and l.ctid >= '(0,0)' and p.ctid >= '(0,0)'
     order by l.head desc, p.last_claim limit 1 for no key update of p skip locked;
    if not found then
      -- All that could run is locked by others: wait for the best of it, by its key, since ORDER BY … LIMIT … FOR UPDATE would wait
      -- with the locks of rows that it rejects. Skipping keeps those too; they belong to full projects, which nobody waits for.
      select l.project, l.agent, l.head into v_project, v_lane, v_head from load p join lane l on l.project = p.project
       where l.head is not null and not p.paused and p.running < p.max_parallel and (l.agent = '' or l.agent = any(v_agents))
         and (v_tried is null or l.project || '/' || l.agent <> all(v_tried)) and l.ctid >= '(0,0)' and p.ctid >= '(0,0)'
       order by l.head desc, p.last_claim limit 1;
      exit when not found;
      if v_held then   -- and may not wait: ask again
        perform pg_notify('qd', 'task');
        exit;
      end if;
      select case when p.paused then 0 else p.max_parallel - p.running end into v_room from load p where p.project = v_project for no key update;
    end if;
    v_held := true;
    v_tried := array_append(v_tried, v_project || '/' || v_lane);   -- in case that nothing comes of it
    v_room := least(coalesce(v_room, 0), p_n);
    continue when v_room <= 0;
    v_agent := null; v_slots := null;
    foreach v_name in array case when v_lane = '' then v_agents else array[v_lane] end loop
      if v_name <> all(v_limited) then v_agent := v_name; exit; end if;
      select array_agg(slot) into v_slots from (
        select s.slot from agent_slot s join agent a on a.name = s.agent
         where s.agent = v_name and s.task is null and s.slot <= a.max_parallel
         limit least(v_room, (select greatest(a.max_parallel - count(b.task), 0) from agent a join agent_slot b on b.agent = a.name
                               where a.name = v_name group by a.max_parallel))
         for no key update of s skip locked) free;
      if v_slots is not null then v_agent := v_name; v_room := least(v_room, cardinality(v_slots)); exit; end if;
    end loop;
    continue when v_agent is null;
    select array_agg(number), array_agg(priority) into v_taken, v_priorities from (
      select t.number, t.priority from task t
       where t.project = v_project and t.agent = v_lane and t.status = 'pending'
       order by t.priority desc, t.number limit v_room for no key update of t skip locked) free;
    if v_taken is null then   -- the hint was too good, or others are at these very tasks
      v_stale_projects := array_append(v_stale_projects, v_project); v_stale_lanes := array_append(v_stale_lanes, v_lane);
      continue;
    end if;
    v_taken := v_taken[:cardinality(array_positions(v_priorities, v_priorities[1]))];
    if v_slots is not null then
      update agent_slot set task = v_taken[array_position(v_slots, slot)] where agent = v_agent and slot = any(v_slots[:cardinality(v_taken)]);
    end if;
    return query
      update task t set status = 'in_progress', attempts = t.attempts + 1, lease_token = t.lease_token + 1, engine = p_engine,
             claimed_at = clock_timestamp(), updated_at = clock_timestamp(), cancel_requested = false, wait = null, not_before = null
       where t.number = any(v_taken)
      returning t.number, t.project, v_agent, t.priority, t.status, t.wait, t.attempts, t.failures, t.max_attempts, t.rescues, t.waiting_on,
             t.lease_token, t.engine, t.not_before, t.deadline, t.cancel_requested, t.created_at, t.updated_at, t.claimed_at, t.finished_at;
    update load set running = running + cardinality(v_taken), last_claim = clock_timestamp() where project = v_project
    returning (select t.priority from task t where t.project = v_project and t.agent = v_lane and t.status = 'pending'
                order by t.priority desc, t.number limit 1) into v_best;
    if v_best is distinct from v_head then
      v_stale_projects := array_append(v_stale_projects, v_project); v_stale_lanes := array_append(v_stale_lanes, v_lane);
    end if;
    exit;
  end loop;
  if v_stale_projects is not null then
    perform lane_renew(l.project, l.agent) from (select * from unnest(v_stale_projects, v_stale_lanes) l (project, agent) order by 1, 2) l;
  end if;
end $$;

-- ── what becomes of the children ────────────────────────────────────────────────────────────────────────────────

-- The parent is completed: count it off its children. Returns those that are ready now; their lanes are the caller's to touch,
-- after the last row that it waits for.
create function task_release_children(p_number bigint) returns task[] language plpgsql as $$
declare v_kids bigint[]; v_ready task[];
begin
  select array_agg(number) into v_kids from (
    select c.number from task_after d join task c on c.number = d.child
     where d.parent = p_number and c.status = 'blocked' order by c.number for no key update of c) k;
  if v_kids is null then return null; end if;
  -- Counted anew and not counted down: a parent that was retried after it had been completed is not counted twice. A
  -- recurring child waits even when its date has passed, for task_recur to leave the next one behind.
  with u as (
    update task t set updated_at = clock_timestamp(), (waiting_on, status, wait) = (
        select w.n, case when w.n > 0 then 'blocked' when later then 'waiting' else 'pending' end::task_status,
               case when w.n = 0 and later then 'time'::task_wait end
          from (select count(*)::int as n from task_after d join task p on p.number = d.parent where d.child = t.number and p.status <> 'completed') w,
               (select coalesce(t.not_before > clock_timestamp(), false)
                       or exists (select 1 from task_body b where b.task = t.number and b.cron is not null and t.attempts = 0)) l (later))
     where t.number = any(v_kids) returning t.*)
  select array_agg(u) into v_ready from u where u.status = 'pending';
  return v_ready;
end $$;

-- Parents failed or were cancelled: so does everything that waits for them, as each child asks. One after the other is locked, the
-- lowest number first, and only then asked for its children: who holds a task sees all its children, for new ones need it too, and a
-- child's number is above its parents'. Locking all that one snapshot shows would miss some, and lock these out of order.
create function task_fail_children(p_numbers bigint[]) returns int language plpgsql
  set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare v_open bigint[]; v_next bigint; v_lost bigint[] := '{}';
begin
  v_open := array(select distinct d.child from task_after d where d.parent = any(p_numbers));
  while v_open <> '{}' loop
    v_next := (select min(n) from unnest(v_open) n);
    v_open := array_remove(v_open, v_next);
    perform 1 from task c where c.number = v_next and c.status in ('pending', 'blocked', 'waiting') for no key update;
    continue when not found;
    v_lost := array_append(v_lost, v_next);
    v_open := v_open || array(select d.child from task_after d where d.parent = v_next and d.child <> all(v_open));
  end loop;
  if v_lost = '{}' then return 0; end if;
  update task_body b set reason = 'task #' || (select min(d.parent) from task_after d where d.child = b.task and d.parent = any(p_numbers || v_lost))
           || ', on which it depends, did not succeed' where b.task = any(v_lost);
  update task t set status = case b.on_failure when 'cancel' then 'cancelled' else 'failed' end::task_status, wait = null, not_before = null,
         finished_at = clock_timestamp(), updated_at = clock_timestamp()
    from task_body b where b.task = t.number and t.number = any(v_lost);
  return cardinality(v_lost);
end $$;

-- ── the end of a run ────────────────────────────────────────────────────────────────────────────────────────────

-- What a claimed task becomes. Fenced by (number, in_progress, token): null when the caller's token is stale.
-- p_outcome: completed, review, retry (this attempt failed), failed, cancelled, wait (p_wait says for what).
-- Separate statements on purpose: under READ COMMITTED each has a new snapshot, so that an edge that was committed while this
-- waited for the row is seen.
create function task_finish(p_number bigint, p_token bigint, p_outcome text, p_reason text default null, p_retry_in interval default null,
                            p_wait task_wait default null, p_feedback text default null) returns task_status language plpgsql
  set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare v task; v_status task_status; v_ready task[];
begin
  update task t set engine = null, updated_at = clock_timestamp(), failures = t.failures + (p_outcome in ('retry', 'failed'))::int,
         (status, wait, not_before, finished_at) = (
           select n.status, case when n.status = 'waiting' then coalesce(p_wait, 'time') end,
                  case when n.status = 'waiting' and coalesce(p_wait, 'time') = 'time' then clock_timestamp() + coalesce(p_retry_in, interval '0') end,
                  case when n.status in ('completed', 'failed', 'cancelled') then clock_timestamp() end
             from (select case
                     when p_outcome = 'completed' then 'completed'
                     when t.cancel_requested or p_outcome = 'cancelled' then 'cancelled'
                     when p_outcome = 'review' then 'review'
                     when p_outcome = 'wait' then 'waiting'
                     when p_outcome = 'retry' and t.failures + 1 < t.max_attempts then case when p_retry_in > interval '0' then 'waiting' else 'pending' end
                     else 'failed' end::task_status as status) n)
   where t.number = p_number and t.lease_token = p_token and t.status = 'in_progress' returning t.* into v;
  if not found then return null; end if;
  v_status := v.status;
  if v_status = 'completed' then
    update task_body set reason = null, feedback = null where task = p_number and (reason is not null or feedback is not null);
    v_ready := task_release_children(p_number);
  else
    update task_body b set reason = case when v_status = 'cancelled' and v.cancel_requested then coalesce(b.reason, 'cancelled')
                                         when v_status <> 'pending' then p_reason end,
           feedback = case when v_status <> 'cancelled' then coalesce(p_feedback, b.feedback) end
     where b.task = p_number;
    if v_status in ('failed', 'cancelled') then perform task_fail_children(array[p_number]); end if;
  end if;
  update agent_slot set task = null where task = p_number;
  update load set running = running - 1 where project = v.project;
  if v_status = 'pending' then perform task_touch(v.project, v.agent, v.priority);
  elsif v_ready is not null then perform task_touch_all(v_ready);
  end if;
  return v_status;
end $$;

-- Whoever changes the dependencies of a task that exists holds this lock alone: no two changes can close a cycle between them. Who
-- relies on the dependencies of a task that is not blocked holds it shared.
create function task_graph_lock() returns bigint language sql immutable parallel safe as $$ select 8101830291173666404 $$;

-- What a task that nobody holds becomes: by a person (cancel, retry, approve, reject), by a timer, by a review.
-- Null when its status is not among p_from. To 'pending' means: as its dependencies and its time allow; QD409 when one of
-- those it depends on did not succeed.
create function task_move(p_number bigint, p_from task_status[], p_to task_status, p_reason text default null, p_wait task_wait default null,
                          p_not_before timestamptz default null, p_feedback text default null, p_fresh boolean default false)
  returns task_status language plpgsql as $$
declare v task; v_status task_status := p_to; v_waiting int := 0; v_lost bigint; v_ready task[];
begin
  if p_to = 'pending' then   -- serialises with the parents' end, as task_add does, and with a change of the dependencies
    perform pg_advisory_xact_lock_shared(task_graph_lock());
    select count(*) filter (where s.status <> 'completed'), min(s.number) filter (where s.status in ('failed', 'cancelled'))
      into v_waiting, v_lost from (
      select t.number, t.status from task t where t.number = any(array(select d.parent from task_after d where d.child = p_number))
       order by t.number for share) s;
  end if;
  select t.* into v from task t where t.number = p_number and t.status = any(p_from) and t.status <> 'in_progress' for no key update;
  if not found then return null; end if;
  if v_lost is not null then
    raise exception 'task #% depends on task #%, which did not succeed', p_number, v_lost using errcode = 'QD409';
  end if;
  if p_to = 'pending' then
    v_status := case when v_waiting > 0 then 'blocked' when p_not_before > clock_timestamp() then 'waiting' else 'pending' end;
  end if;
  update task t set status = v_status, waiting_on = case when p_to = 'pending' then v_waiting else t.waiting_on end,
         wait = case when v_status = 'waiting' then coalesce(p_wait, 'time') end, not_before = case when v_status in ('blocked', 'waiting') then p_not_before end,
         failures = case when p_fresh then 0 else t.failures end, rescues = case when p_fresh then 0 else t.rescues end,
         cancel_requested = false, updated_at = clock_timestamp(),
         finished_at = case when v_status in ('completed', 'failed', 'cancelled') then clock_timestamp() end
   where t.number = p_number;
  update task_body b set reason = p_reason, feedback = coalesce(p_feedback, b.feedback) where b.task = p_number;
  if v_status = 'completed' then
    v_ready := task_release_children(p_number);
    if v_ready is not null then perform task_touch_all(v_ready); end if;
  elsif v_status in ('failed', 'cancelled') then perform task_fail_children(array[p_number]);
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
create function task_add(p_tasks jsonb) returns table (number bigint, id uuid, status task_status) language plpgsql
  set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_project text; v_agent text; v_parent bigint; v_chained boolean; v_parents bigint[]; v_bad bigint;
  v_numbers bigint[]; v_ids uuid[]; v_statuses task_status[]; v_projects text[]; v_agents text[]; v_priorities smallint[];
begin
  select min(e ->> 'project') filter (where not exists (select 1 from load l where l.project = e ->> 'project')),
         min(e ->> 'agent') filter (where e ->> 'agent' <> '' and not exists (select 1 from agent a where a.name = e ->> 'agent')),
         min((e ->> 'parent')::bigint) filter (where not exists (select 1 from task t where t.number = (e ->> 'parent')::bigint)),
         bool_or(jsonb_typeof(e -> 'after') = 'array')
    into v_project, v_agent, v_parent, v_chained from jsonb_array_elements(p_tasks) e;
  if v_project is not null then raise exception 'no project "%"', v_project using errcode = 'QD404'; end if;
  if v_agent is not null then raise exception 'no agent "%"', v_agent using errcode = 'QD404'; end if;
  if v_parent is not null then raise exception 'no task #%', v_parent using errcode = 'QD404'; end if;
  if v_chained then
    select array_agg(distinct a::bigint) into v_parents from jsonb_array_elements(p_tasks) e, jsonb_array_elements_text(e -> 'after') a
     where jsonb_typeof(e -> 'after') = 'array';
    perform 1 from task t where t.number = any(v_parents) order by t.number for share;
    select p into v_bad from unnest(v_parents) p where not exists (select 1 from task t where t.number = p) limit 1;
    if found then raise exception 'no task #%', v_bad using errcode = 'QD404'; end if;
    select t.number into v_bad from task t where t.number = any(v_parents) and t.status in ('failed', 'cancelled') order by 1 limit 1;
    if found then raise exception 'task #% did not succeed and cannot be waited for', v_bad using errcode = 'QD409'; end if;
  end if;
  -- A recurring task waits even when its date has passed, for task_recur to leave the next one behind.
  with item as materialized (
    select nextval('task_number_seq') as number, e.project, e.title, e.description,
           coalesce(nullif(e.agent, ''), (select p.agent from project p where p.id = e.project), '') as agent,
           coalesce(e.priority, (select p.priority from project p where p.id = e.project)) as priority,
           e.parent, e.paths, e.deadline, e.max_attempts, e.max_cost_usd, e.cron, e.on_failure, e.extra,
           (select count(*)::int from task t where t.number = any(e.after) and t.status <> 'completed') as waiting_on,
           case when e.cron is not null then coalesce(e.not_before, clock_timestamp()) else e.not_before end as not_before,
           e.cron is not null or coalesce(e.not_before > clock_timestamp(), false) as later
      from jsonb_to_recordset(p_tasks) as e(project text, agent text, title text, description text, priority smallint, parent bigint, paths text[],
             after bigint[], not_before timestamptz, deadline timestamptz, max_attempts smallint, max_cost_usd numeric, cron text, on_failure text, extra jsonb)),
  head as (
    insert into task (number, project, agent, priority, status, wait, waiting_on, not_before, deadline, max_attempts) overriding system value
    select i.number, i.project, i.agent, i.priority,
           case when i.waiting_on > 0 then 'blocked' when i.later then 'waiting' else 'pending' end::task_status,
           case when i.waiting_on = 0 and i.later then 'time'::task_wait end, i.waiting_on, i.not_before, i.deadline, coalesce(i.max_attempts, 3)
      from item i returning task.number, task.project, task.agent, task.priority, task.status),
  body as (
    insert into task_body (task, title, description, parent, paths, on_failure, max_cost_usd, cron, extra)
    select i.number, i.title, coalesce(i.description, ''), i.parent, coalesce(i.paths, '{}'), coalesce(i.on_failure, 'fail'), i.max_cost_usd, i.cron,
           coalesce(i.extra, '{}') from item i returning task_body.id)
  -- rows are read, inserted and returned one after the other, in the order of the array
  select h.*, b.ids into v_numbers, v_statuses, v_projects, v_agents, v_priorities, v_ids
    from (select array_agg(h.number), array_agg(h.status), array_agg(h.project), array_agg(h.agent), array_agg(h.priority) from head h) h,
         (select array_agg(b.id) as ids from body b) b;
  if v_chained then
    insert into task_after (parent, child)
    select distinct a::bigint, v_numbers[e.ord] from jsonb_array_elements(p_tasks) with ordinality as e (item, ord),
           jsonb_array_elements_text(e.item -> 'after') a where jsonb_typeof(e.item -> 'after') = 'array';
  end if;
  if cardinality(v_numbers) = 1 and v_statuses[1] = 'pending' then
    perform task_touch(v_projects[1], v_agents[1], v_priorities[1]);
  elsif 'pending' = any(v_statuses) then
    perform task_touch(l.project, l.agent, l.best) from (
      select n.project, n.agent, max(n.priority) as best from unnest(v_projects, v_agents, v_priorities, v_statuses) n (project, agent, priority, status)
       where n.status = 'pending' group by 1, 2 order by 1, 2) l;
  end if;
  return query select * from unnest(v_numbers, v_ids, v_statuses);
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
declare v_project text; v_rows task[];
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
                             then clock_timestamp() + case when p_crash then interval '500 ms' * power(4, least(t.rescues, 5)) else interval '0' end end,
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
  perform task_fail_children(array(select (r).number from unnest(v_rows) r where (r).status in ('failed', 'cancelled')));
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
declare v_rows task[];
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
  perform task_touch_all(v_rows);
  return cardinality(v_rows);
end $$;

-- Recurring tasks whose date has come: the caller computes the next date and hands each to task_recur.
create function task_recurring_due(p_limit int default 100) returns table (number bigint, cron text, not_before timestamptz) language sql stable as $$
  select t.number, b.cron, t.not_before from task t join task_body b on b.task = t.number
   where t.status = 'waiting' and t.wait = 'time' and t.not_before <= clock_timestamp() and t.attempts = 0 and b.cron is not null
   order by t.not_before limit p_limit
$$;

-- Makes a recurring task ready and leaves its next occurrence behind, at once; p_next null ends the series. False: somebody else
-- did it, or it was cancelled. The distance from the date to the deadline stays. The expression goes over to the next: what has
-- come due is a task like any other.
create function task_recur(p_number bigint, p_next timestamptz) returns boolean language plpgsql as $$
declare v task; v_next bigint;
begin
  select t.* into v from task t where t.number = p_number and t.status = 'waiting' and t.wait = 'time' and t.not_before <= clock_timestamp()
     and t.attempts = 0 for no key update skip locked;
  if not found then return false; end if;
  if p_next is not null then
    insert into task (project, agent, priority, status, wait, not_before, deadline, max_attempts)
    values (v.project, v.agent, v.priority, 'waiting', 'time', p_next, p_next + (v.deadline - v.not_before), v.max_attempts) returning number into v_next;
    insert into task_body (task, title, description, parent, paths, on_failure, max_cost_usd, cron, extra)
    select v_next, b.title, b.description, b.parent, b.paths, b.on_failure, b.max_cost_usd, b.cron, b.extra from task_body b where b.task = p_number;
  end if;
  update task_body set cron = null where task = p_number;
  update task set status = 'pending', wait = null, not_before = null, updated_at = clock_timestamp() where number = p_number;
  perform task_touch(v.project, v.agent, v.priority);
  return true;
end $$;

-- Tasks that nobody holds and whose deadline has passed fail, one per call; ask until null. Returns the task's number.
create function task_expire() returns bigint language plpgsql as $$
declare v bigint;
begin
  select t.number into v from task t where t.deadline <= clock_timestamp() and t.status in ('pending', 'blocked', 'waiting')
     -- a recurring task first leaves its next occurrence behind
     and not (t.status = 'waiting' and t.wait = 'time' and t.attempts = 0
              and exists (select 1 from task_body b where b.task = t.number and b.cron is not null))
   limit 1 for no key update of t skip locked;
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
  union all select 'two slots for one task', count(*) from (select 1 from agent_slot where task is not null group by task having count(*) > 1) x
  union all select 'slot of a task that is not in progress', count(*) from agent_slot s left join task t on t.number = s.task
    where s.task is not null and t.status is distinct from 'in_progress'
  union all select 'in progress with no engine', count(*) from task where status = 'in_progress' and engine is null
$$;

-- The run of a claimed task vanished through no fault of the work (its keeper was killed): it starts again after a pause, and is
-- set aside when that happens too often. Fenced like task_finish.
create function task_lost(p_number bigint, p_token bigint, p_reason text, p_max_rescues int) returns task_status language plpgsql as $$
declare v task;
begin
  select t.* into v from task t where t.number = p_number and t.lease_token = p_token and t.status = 'in_progress' for no key update;
  if not found then return null; end if;
  update task set rescues = rescues + 1 where number = p_number;
  if v.rescues + 1 >= p_max_rescues then
    return task_finish(p_number, p_token, 'failed', format('set aside after %s losses: %s', v.rescues + 1, p_reason));
  end if;
  return task_finish(p_number, p_token, 'wait', p_reason, interval '500 ms' * power(4, least(v.rescues, 5)), 'time');
end $$;
