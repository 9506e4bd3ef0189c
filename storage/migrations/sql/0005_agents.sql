-- What an agent may see and do by itself: what belongs to the project of its run, and nothing of any other.
--
-- A transaction of an agent names its project (`qd.project`) and its run (`qd.run`) beside its actor. Rows of other projects do not exist for
-- it, whatever it asks for; tables that it was not granted cannot be read at all. Everybody else's rows are bound by grants alone.

create function qd_project() returns text language sql stable parallel safe as $$ select nullif(current_setting('qd.project', true), '') $$;
create function qd_run() returns bigint language sql stable parallel safe as $$ select nullif(current_setting('qd.run', true), '')::bigint $$;

do $$
declare v_table text;
begin
  foreach v_table in array array['project', 'load', 'lane', 'task', 'task_body', 'task_after', 'run', 'run_input', 'question', 'setting',
                                 'corpus', 'memory', 'pattern', 'decision', 'lesson', 'posting', 'frequent_term', 'embedding'] loop
    execute format('alter table %I enable row level security', v_table);
    execute format('create policy crew on %I to qd_admin, qd_supervisor, qd_viewer, qd_engine using (true) with check (true)', v_table);
  end loop;
end $$;

revoke select on service, budget, account, charge from qd_agent;
grant usage on all sequences in schema public to qd_agent;

-- ── the queue: it reads its project's tasks and adds to them ──

grant select on project, load, lane, task, task_body, task_after, run, question to qd_agent;
grant select (key, value) on setting to qd_agent;
grant select (name, enabled, max_parallel) on agent to qd_agent;
grant select on agent_slot to qd_agent;
grant select (id, name, max_parallel, state, wanted, lease_until) on engine to qd_agent;
grant insert on task, task_body, task_after to qd_agent;
-- Whoever waits for a task holds its row while it is added; no column that says anything may be changed.
grant update (updated_at) on task to qd_agent;
grant insert, update on lane to qd_agent;
grant update (inputs) on run to qd_agent;
grant insert on run_input to qd_agent;

create policy own on project for select to qd_agent using (id = (select qd_project()));
create policy own on load for select to qd_agent using (project = (select qd_project()));
create policy own on lane to qd_agent using (project = (select qd_project())) with check (project = (select qd_project()));
create policy own on task to qd_agent using (project = (select qd_project())) with check (project = (select qd_project()));
-- A task and its body are added by one statement, which does not see the task yet while it returns the body.
create function qd_elsewhere(p_task bigint) returns boolean language sql stable security definer set search_path = public, pg_temp as $$
  select exists (select 1 from task t where t.number = p_task and t.project is distinct from qd_project())
$$;
create policy own on task_body for select to qd_agent using (not qd_elsewhere(task));
create policy added on task_body for insert to qd_agent with check (true);
create policy own on task_after to qd_agent using (exists (select 1 from task t where t.number = task_after.child))
  with check (exists (select 1 from task t where t.number = task_after.child) and exists (select 1 from task t where t.number = task_after.parent));
create policy own on run to qd_agent using (project = (select qd_project())) with check (project = (select qd_project()));
create policy said on run_input for insert to qd_agent with check (
  exists (select 1 from run r where r.number = run_input.run)
  and (kind = 'message' or (kind in ('progress', 'question') and run = (select qd_run()))));
create policy own on question for select to qd_agent using (project = (select qd_project()));
create policy queue on setting for select to qd_agent using (key = 'queue.paused');

-- What an agent says by its tools goes through the engine that holds its run, which alone numbers events.
alter table run_input drop constraint run_input_kind_check;
alter table run_input add constraint run_input_kind_check
  check (kind in ('message', 'answer', 'stop', 'pause', 'resume', 'interrupt', 'progress', 'question'));

-- ── knowledge: it finds its project's and what holds for all, and adds to its project's ──

grant select on corpus, memory, pattern, decision, lesson, posting, frequent_term, embedder, embedding to qd_agent;
grant select, insert, update, delete on query_vector to qd_agent;
grant insert on corpus, memory, decision, lesson to qd_agent;

create policy seen on corpus for select to qd_agent using (project is null or project = (select qd_project()));
create policy own on corpus for insert to qd_agent with check (project = (select qd_project()));
create policy seen on memory for select to qd_agent using (corpus in (select c.id from corpus c));
create policy own on memory for insert to qd_agent
  with check (origin = 'agent' and corpus in (select c.id from corpus c where c.project = (select qd_project())));
create policy seen on pattern for select to qd_agent using (exists (select 1 from memory m where m.number = pattern.memory));
create policy seen on decision for select to qd_agent using (exists (select 1 from memory m where m.number = decision.memory));
create policy own on decision for insert to qd_agent with check (exists (select 1 from memory m where m.number = decision.memory and m.origin = 'agent'));
create policy seen on lesson for select to qd_agent using (corpus in (select c.id from corpus c));
create policy own on lesson for insert to qd_agent with check (exists (select 1 from memory m where m.number = lesson.memory and m.origin = 'agent'));
create policy seen on posting for select to qd_agent using (corpus in (select c.id from corpus c));
create policy seen on frequent_term for select to qd_agent using (corpus in (select c.id from corpus c));
create policy seen on embedding for select to qd_agent using (corpus in (select c.id from corpus c));
