-- Makes ready the tasks whose budget or service can take a call again. Returns how many. A budget is the rule in force for what waits: one
-- of its own that has come since takes the place of the rule for each. Of the services any that may answer is enough.
create or replace function budget_wake(p_at timestamptz default null) returns int language plpgsql as $$
declare v_at timestamptz := coalesce(p_at, clock_timestamp()); v record; v_n int := 0;
begin
  for v in
    select w.task from budget_wait w
      left join lateral (
        select x.id, x.scope, x.hard from budget o join budget x on x.scope = o.scope and x.unit = o.unit and x.period = o.period and x.key in (w.key, '*')
         where o.id = w.budget order by x.key = '*' limit 1) b on true
      left join account a on a.budget = b.id and a.key = w.key and a.starts <= v_at and v_at < a.ends
     where case when b.id is not null and b.scope <> 'service'
                then (b.hard is null or coalesce(a.hard - a.spent - a.reserved, b.hard) >= w.need)
                     and (not exists (select 1 from service s where s.name = w.service)
                          or exists (select 1 from service s join budget_chain(w.service) c on c.service = s.name where not s.suspended))
                else budget_recovered(w, v_at) end
     order by w.task
  loop
    if task_move(v.task, '{waiting}', 'pending') is not null then v_n := v_n + 1; end if;
    delete from budget_wait where task = v.task;
  end loop;
  delete from budget_wait w where not exists (select 1 from task t where t.number = w.task and t.status = 'waiting')
    and w.since < v_at - interval '1 minute';
  return v_n;
end $$;

-- There is room once nobody else has reserved it: else what waits would be refused again at once. A service that was given another stand-in brings
-- that one too, though nothing has changed about the stand-in itself.
create or replace function budget_recovered(w budget_wait, p_at timestamptz) returns boolean language sql stable as $$
  with link as (
    select s.name, s.updated_at, s.name = w.service and w.kind = 'budget' as refused, c.updated_at as health_at, c.open_until, coalesce(c.state, 'closed') as state
      from service s left join circuit c on c.service = s.name
     where s.name in (select c.service from budget_chain(w.service) c) and not s.suspended
       and (coalesce(c.state, 'closed') = 'closed' or c.open_until <= p_at)),
  rules as (
    select l.name, b.unit, b.updated_at, coalesce(a.starts, p.starts) as starts, coalesce(a.hard - a.spent - a.reserved, b.hard) as room
      from link l
      cross join lateral budget_rules(l.name, null, null, null) r
      join budget b on b.id = r.budget and b.scope = 'service'
      left join account a on a.budget = r.budget and a.key = r.key and a.starts <= p_at and p_at < a.ends
      cross join lateral budget_period(b.period, b.zone, b.starts_on, p_at) p
     where b.hard is not null)
  select not exists (select 1 from service s where s.name = w.service) or exists (
    select 1 from link l
     where not exists (select 1 from rules r where r.name = l.name
                          and r.room < case when r.unit = (select b.unit from budget b where b.id = w.budget) then w.need else 1 end)
       and (l.refused or exists (select 1 from service s where s.name in (select c.service from budget_chain(w.service) c) and s.updated_at > w.since)
            or case l.state when 'closed' then l.health_at else l.open_until end > w.since
            or exists (select 1 from rules r where r.name = l.name and (r.updated_at > w.since or r.starts > w.since))
            or exists (select 1 from secret k where k.name = 'service.' || l.name and k.updated_at > w.since)))
$$;
