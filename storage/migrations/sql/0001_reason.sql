-- "Why is this not running?", answered from the state alone. What blocks a task is looked at in the order in which a person
-- would have to clear it away: the whole queue, its project, its agent, the engines, and at last its turn.

create function task_reason(p_numbers bigint[]) returns table (number bigint, reason text) language sql stable as $$
  with world as materialized (
    select exists (select 1 from setting s where s.key = 'queue.paused' and s.value = 'true'::jsonb) as paused,
           count(*) as engines, coalesce(sum(e.max_parallel), 0) as places,
           count(*) filter (where e.held < e.max_parallel) as free_engines
      from (select e.max_parallel, (select count(*) from task t where t.engine = e.id and t.status = 'in_progress') as held
              from engine e where e.state = 'running' and e.wanted = 'run' and e.lease_until > clock_timestamp()) e),
  crew as materialized (
    select a.name, a.enabled, a.max_parallel,
           a.max_parallel is null or exists (select 1 from agent_slot s where s.agent = a.name and s.task is null and s.slot <= a.max_parallel) as free
      from agent a)
  select t.number, case t.status
    when 'blocked' then (
      select 'waits for ' || string_agg(format('#%s (%s)', p.number, replace(p.status::text, '_', ' ')), ', ' order by p.number)
             || case when count(*) < t.waiting_on then format(' and %s more', t.waiting_on - count(*)) else '' end
        from (select p.number, p.status from task_after d join task p on p.number = d.parent
               where d.child = t.number and p.status <> 'completed' order by p.number limit 5) p)
    when 'waiting' then case t.wait
      when 'time' then concat_ws('; ', b.reason, 'starts at ' || to_char(t.not_before at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
      when 'person' then coalesce(
        (select format('waits for the answer to question %s: %s', q.number, left(regexp_replace(q.text, '\s+', ' ', 'g'), 200))
           from question q where q.task = t.number and q.status = 'open' order by q.number limit 1), b.reason, 'waits for a person')
      else coalesce(b.reason, 'waits for its budget') end
    when 'pending' then case
      when w.paused then 'the queue is paused'
      when l.project is null then format('project %s is not registered', t.project)
      when l.paused then format('project %s is paused', t.project)
      when t.agent <> '' and a.name is null then format('agent %s is unknown', t.agent)
      when t.agent <> '' and not a.enabled then format('agent %s is disabled', t.agent)
      when t.agent = '' and not exists (select 1 from crew c where c.enabled) then 'no agent is enabled'
      when w.engines = 0 then 'no engine is running'
      when l.running >= l.max_parallel then format('project %s is full: %s of %s tasks are in progress', t.project, l.running, l.max_parallel)
      when t.agent <> '' and not a.free then format('agent %s is full: %s of %s tasks are in progress', t.agent, a.max_parallel, a.max_parallel)
      when t.agent = '' and not exists (select 1 from crew c where c.enabled and c.free) then 'every agent is full'
      when w.free_engines = 0 then format('every engine is full: %s of %s runs', w.places, w.places)
      else 'ready: ' || case ahead.n when 0 then 'it is next' when 1 then '1 task is before it'
                                     else format('%s tasks are before it', case when ahead.n > 100 then 'over 100' else ahead.n::text end) end
           || format(' in project %s', t.project) end
    when 'in_progress' then case when t.cancel_requested then concat_ws(': ', 'is being cancelled', b.reason) end
    else b.reason end
    from world w cross join unnest(p_numbers) n (number)
    join task t on t.number = n.number
    join task_body b on b.task = t.number
    left join load l on l.project = t.project
    left join crew a on a.name = t.agent
    -- Counts at most about a hundred per lane, along the index task_ready: the place in line of a task far behind is not worth more.
    left join lateral (
      select coalesce(sum(k.n), 0) as n from lane i cross join lateral (
        select (select count(*) from (select 1 from task x where x.project = t.project and x.agent = i.agent and x.status = 'pending'
                                         and x.priority > t.priority limit 101) y)
             + (select count(*) from (select 1 from task x where x.project = t.project and x.agent = i.agent and x.status = 'pending'
                                         and x.priority = t.priority and x.number < t.number limit 101) y) as n) k
       where i.project = t.project) ahead on t.status = 'pending'
$$;
