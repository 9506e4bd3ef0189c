-- What waits for a service is woken by whatever brings back it, one that it stands in for, or one that stands in for it: money, a
-- circuit that closes or whose time is up, a key, a change of its terms.

alter table budget_wait add column kind text not null default 'budget' check (kind in ('budget', 'service'));   -- as of the refusal: no money, or out of order

-- The services that may answer what one of them refused: those that it stands in for, itself, and those that stand in for it.
create function budget_chain(p_service text) returns table (service text) language sql stable as $$
  with recursive
  above (name) as (select p_service collate "C" union select s.name from above a join service s on s.fallback = a.name),
  below (name) as (select p_service collate "C" union select s.fallback from below b join service s on s.name = b.name where s.fallback is not null)
  select name from above union select name from below
$$;

-- When the first of a chain that is out of order may be asked again; null where none has yet to wait.
create function budget_reopens(p_service text) returns timestamptz language sql stable as $$
  select min(c.open_until) from circuit c
   where c.state <> 'closed' and c.open_until > clock_timestamp() and c.service in (select b.service from budget_chain(p_service) b)
$$;

-- Whether a service can take again what was refused. The one that refused for money can as soon as it has room; any other counts only
-- by what has changed since: what it had before has not helped.
create function budget_recovered(w budget_wait, p_at timestamptz) returns boolean language sql stable as $$
  with link as (
    select s.name, s.updated_at, s.name = w.service and w.kind = 'budget' as refused, c.updated_at as health_at, c.open_until, coalesce(c.state, 'closed') as state
      from service s left join circuit c on c.service = s.name
     where s.name in (select c.service from budget_chain(w.service) c) and not s.suspended
       and (coalesce(c.state, 'closed') = 'closed' or c.open_until <= p_at)),
  rules as (
    select l.name, b.unit, b.updated_at, coalesce(a.starts, p.starts) as starts, coalesce(a.hard - a.spent, b.hard) as room
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
       and (l.refused or l.updated_at > w.since
            or case l.state when 'closed' then l.health_at else l.open_until end > w.since
            or exists (select 1 from rules r where r.name = l.name and (r.updated_at > w.since or r.starts > w.since))
            or exists (select 1 from secret k where k.name = 'service.' || l.name and k.updated_at > w.since)))
$$;

-- Makes ready the tasks whose budget or service can take a call again. Returns how many.
create or replace function budget_wake(p_at timestamptz default null) returns int language plpgsql as $$
declare v_at timestamptz := coalesce(p_at, clock_timestamp()); v record; v_n int := 0;
begin
  for v in
    select w.task from budget_wait w
      left join budget b on b.id = w.budget
      left join account a on a.budget = w.budget and a.key = w.key and a.starts <= v_at and v_at < a.ends
      left join service s on s.name = w.service
     where case when b.id is not null and b.scope <> 'service'
                then not coalesce(s.suspended, false) and (b.hard is null or coalesce(a.hard - a.spent, b.hard) >= w.need)
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

drop function budget_has_room(text, text, bigint, timestamptz, timestamptz);
