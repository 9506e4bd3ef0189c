-- What waits for a service is woken too by what happens to those that stand in for it.

create or replace function budget_override(p_budget bigint, p_key text, p_extra bigint) returns boolean language plpgsql as $$
declare v_id bigint;
begin
  select id into v_id from account where budget = p_budget and key = p_key and starts <= clock_timestamp() and clock_timestamp() < ends for no key update;
  if not found then return false; end if;
  update account set extra = extra + p_extra, hard = hard + p_extra, ceiling = greatest(hard + p_extra, spent + reserved) where id = v_id and hard is not null;
  update budget set updated_at = clock_timestamp() where id = p_budget;
  update service s set exhausted_until = null from budget b where b.id = p_budget and b.scope = 'service' and s.name = p_key;
  return true;
end $$;

-- Whether a service, or one of its protocol that stands in for it, has room for p_need of p_unit. A stand-in counts from the moment
-- on when a person or a new period changed something about it: what it had before has not helped.
create function budget_has_room(p_service text, p_unit text, p_need bigint, p_since timestamptz, p_at timestamptz) returns boolean language sql stable as $$
  with recursive chain (name, fallback, suspended, updated_at, protocol, place) as (
    select s.name, s.fallback, s.suspended, s.updated_at, replace(s.provider, 'other', 'openai'), 0 from service s where s.name = p_service
    union all
    select s.name, s.fallback, s.suspended, s.updated_at, c.protocol, c.place + 1 from chain c join service s on s.name = c.fallback
     where c.place < 50 and replace(s.provider, 'other', 'openai') = c.protocol),
  rules as (
    select c.name, b.unit, b.updated_at, coalesce(a.starts, p.starts) as starts, coalesce(a.hard - a.spent, b.hard) as room
      from chain c
      cross join lateral budget_rules(c.name, null, null, null) r
      join budget b on b.id = r.budget and b.scope = 'service'
      left join account a on a.budget = r.budget and a.key = r.key and a.starts <= p_at and p_at < a.ends
      cross join lateral budget_period(b.period, b.zone, b.starts_on, p_at) p
     where b.hard is not null)
  select not exists (select 1 from chain) or exists (
    select 1 from chain c
     where not c.suspended
       and not exists (select 1 from rules r where r.name = c.name and r.room < case when r.unit = p_unit then p_need else 1 end)
       and (c.place = 0 or c.updated_at > p_since
            or exists (select 1 from rules r where r.name = c.name and (r.updated_at > p_since or r.starts > p_since))))
$$;

-- Makes ready the tasks whose budget has room again: raised, a new period, an override, a service resumed or mended. Returns how many.
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
                else budget_has_room(w.service, b.unit, w.need, w.since, v_at) end
     order by w.task
  loop
    if task_move(v.task, '{waiting}', 'pending') is not null then v_n := v_n + 1; end if;
    delete from budget_wait where task = v.task;
  end loop;
  delete from budget_wait w where not exists (select 1 from task t where t.number = w.task and t.status = 'waiting' and t.wait = 'budget')
    and w.since < v_at - interval '1 minute';
  return v_n;
end $$;
