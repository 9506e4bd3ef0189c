-- An alert is of one budget, not of all that share its scope and key. A threshold is told when it is passed, by a call or by a change of
-- the rule, and again when it is passed anew.

alter table alert add column budget bigint;   -- whose threshold or limit it is; kept when the budget goes
update alert l set budget = f.budget from (
    select distinct on (l.id) l.id, a.budget from alert l join account a on a.key = l.key and a.starts = l.period_start
      join budget b on b.id = a.budget and b.scope = l.scope and b.unit = l.data ->> 'unit' order by l.id, a.id) f
 where f.id = l.id;
drop index alert_once;
create unique index alert_once on alert (kind, scope, key, level, period_start, coalesce(budget, 0));
alter table alert drop constraint alert_kind_check;
alter table alert add constraint alert_kind_check
  check (kind in ('threshold', 'soft', 'exhausted', 'suspended', 'down', 'key', 'outlier', 'forecast', 'overrun', 'books'));

create or replace function budget_refused(p_budget bigint, p_key text, p_at timestamptz, p_service text) returns void language plpgsql as $$
declare v record;
begin
  select b.scope, a.key, a.unit, a.spent, a.reserved, a.hard, a.starts, a.ends into v
    from account a join budget b on b.id = a.budget where a.budget = p_budget and a.key = p_key and a.starts <= p_at and p_at < a.ends;
  if v.scope = 'service' then
    update service set exhausted_until = v.ends where name = p_service and exhausted_until is distinct from v.ends;
  end if;
  insert into alert (kind, scope, key, budget, period_start, text, data)
  values ('exhausted', v.scope, v.key, p_budget, v.starts,
          format('the budget of %s is used up: %s of %s', budget_name(v.scope, v.key), budget_shown(v.unit, v.spent), budget_shown(v.unit, v.hard)),
          jsonb_build_object('unit', v.unit, 'spent', v.spent, 'hard', v.hard, 'until', v.ends))
  on conflict do nothing;
end $$;

-- Tells, once each, every threshold that an account has passed.
create or replace function budget_alert(p_account bigint) returns void language plpgsql as $$
declare v record; v_level int;
begin
  select a.id, b.scope, a.budget, a.key, a.unit, a.spent, a.hard, b.soft, b.thresholds, a.starts, a.ends into v
    from account a join budget b on b.id = a.budget where a.id = p_account;
  if v.spent > 0 then
    foreach v_level in array v.thresholds loop
      if v.spent >= ceil(coalesce(v.hard, v.soft)::numeric * v_level / 100) then
        insert into alert (kind, scope, key, budget, level, period_start, text, data)
        values ('threshold', v.scope, v.key, v.budget, v_level, v.starts,
                format('%s has used %s %% of its budget: %s of %s', budget_name(v.scope, v.key), v_level, budget_shown(v.unit, v.spent),
                       budget_shown(v.unit, coalesce(v.hard, v.soft))),
                jsonb_build_object('unit', v.unit, 'spent', v.spent, 'hard', v.hard, 'until', v.ends))
        on conflict do nothing;
      end if;
    end loop;
    if v.spent >= v.soft then
      insert into alert (kind, scope, key, budget, period_start, text, data)
      values ('soft', v.scope, v.key, v.budget, v.starts,
              format('%s has passed its soft limit: %s of %s', budget_name(v.scope, v.key), budget_shown(v.unit, v.spent), budget_shown(v.unit, v.soft)),
              jsonb_build_object('unit', v.unit, 'spent', v.spent, 'soft', v.soft, 'until', v.ends))
      on conflict do nothing;
    end if;
  end if;
  update account set next_alert = budget_next_alert(spent, v.hard, v.soft, v.thresholds) where id = p_account;
end $$;

-- After a change of a limit: what is below its threshold by now will be told again, what is beyond one is told unless it has been.
create function budget_rearm(p_account bigint) returns void language plpgsql as $$
begin
  delete from alert l using account a join budget b on b.id = a.budget
   where a.id = p_account and l.budget = a.budget and l.key = a.key and l.period_start = a.starts
     and case l.kind when 'threshold' then coalesce(a.spent < ceil(coalesce(a.hard, b.soft)::numeric * l.level / 100), true)
                     when 'soft' then coalesce(a.spent < b.soft, true)
                     when 'exhausted' then coalesce(a.spent < a.hard, true) else false end;
  perform budget_alert(p_account);
end $$;

create or replace function budget_overrun(p_account bigint, p_service text, p_model text, p_excess bigint) returns void language sql as $$
  insert into alert (kind, scope, key, budget, period_start, text, data)
  select 'overrun', b.scope, a.key, a.budget, a.starts,
         format('a call of %s to %s cost %s more than its bound, charged to %s', p_model, p_service, budget_shown(a.unit, p_excess), budget_name(b.scope, a.key)),
         jsonb_build_object('unit', a.unit, 'excess', p_excess, 'model', p_model)
    from account a join budget b on b.id = a.budget where a.id = p_account
  on conflict do nothing
$$;

-- The charges of one key in a period that count. A task's are found by their index: 'total' has no bounds.
create function budget_charges(p_scope text, p_key text, p_starts timestamptz, p_ends timestamptz) returns setof uuid language plpgsql stable as $$
begin
  if p_scope = 'task' then
    return query select c.id from charge c where c.task = p_key::bigint and c.status <> 'released' and c.at >= p_starts and c.at < p_ends;
  else
    return query select c.id from charge c where c.status <> 'released' and c.at >= p_starts and c.at < p_ends
       and case p_scope when 'service' then c.service = p_key when 'project' then c.project = p_key when 'agent' then c.agent = p_key else true end;
  end if;
end $$;

create or replace function budget_open(p_service text, p_project text, p_task bigint, p_agent text, p_at timestamptz default null) returns int language plpgsql as $$
declare v_at timestamptz := coalesce(p_at, clock_timestamp()); v record; v_period record; v_id bigint; v_n int := 0;
begin
  perform pg_advisory_xact_lock(hashtext('qd.budget'));
  for v in select r.key as whose, b.* from budget_rules(p_service, p_project, p_task, p_agent) r join budget b on b.id = r.budget loop
    continue when exists (select 1 from account a where a.budget = v.id and a.key = v.whose and a.starts <= v_at and v_at < a.ends);
    select * into v_period from budget_period(v.period, v.zone, v.starts_on, v_at);
    v_id := nextval(pg_get_serial_sequence('account', 'id'));
    with entered as (
      update charge c set accounts = c.accounts || v_id,
             counted = case when v.unit = 'runs' and c.run is not null and not exists (
                 select 1 from charge e where e.task = c.task and e.run = c.run and e.status <> 'released' and e.at >= v_period.starts and e.at < v_period.ends
                    and e.id < c.id and (v.scope <> 'service' or e.service = v.whose))
               then c.counted || v_id else c.counted end
       where c.id in (select budget_charges(v.scope, v.whose, v_period.starts, v_period.ends))
      returning c.*),
    sums as (
      select coalesce(sum(budget_amount(v.unit, e.cost_micro, e.tokens, e.counted @> array[v_id])) filter (where e.status <> 'reserved'), 0)::bigint as spent,
             coalesce(sum(budget_amount(v.unit, e.cost_micro, e.tokens, e.counted @> array[v_id])) filter (where e.status <> 'reserved' and e.basis = 'estimated'), 0)::bigint as estimated,
             coalesce(sum(budget_amount(v.unit, e.cost_micro, e.tokens, e.counted @> array[v_id])) filter (where e.status <> 'reserved' and e.basis = 'imputed'), 0)::bigint as imputed,
             coalesce(sum(budget_amount(v.unit, e.reserved_micro, e.reserved_tokens, e.counted @> array[v_id])) filter (where e.status = 'reserved'), 0)::bigint as reserved
        from entered e)
    insert into account (id, budget, key, unit, starts, ends, hard, ceiling, spent, estimated, imputed, reserved, next_alert) overriding system value
    select v_id, v.id, v.whose, v.unit, v_period.starts, v_period.ends, v.hard, case when v.hard is not null then greatest(v.hard, s.spent + s.reserved) end, s.spent, s.estimated, s.imputed, s.reserved,
           budget_next_alert(s.spent, v.hard, v.soft, v.thresholds)
      from sums s;
    perform budget_alert(v_id);
    v_n := v_n + 1;
  end loop;
  return v_n;
end $$;

-- The same for one key of one scope.
create function budget_open_key(p_scope text, p_key text) returns void language sql as $$
  select budget_open(case p_scope when 'service' then p_key end, case p_scope when 'project' then p_key end,
                     case p_scope when 'task' then p_key::bigint end, case p_scope when 'agent' then p_key end)
$$;

-- Sets a rule and brings the accounts of the present period in line: opened where something was spent already, moved where the period was
-- (with what a person has allowed on top). A limit below what is spent stops all further calls.
create or replace function budget_set(p_scope text, p_key text, p_unit text, p_period text, p_hard bigint, p_soft bigint, p_zone text default 'UTC',
                                      p_starts_on int default 1, p_thresholds int[] default null) returns bigint language plpgsql as $$
declare v_id bigint; v_old budget; v record; v_keys text[]; v_extras bigint[];
begin
  perform pg_advisory_xact_lock(hashtext('qd.budget'));
  perform clock_timestamp() at time zone p_zone;   -- raises invalid_parameter_value for a zone that does not exist
  select * into v_old from budget where scope = p_scope and key = p_key and unit = p_unit and period = p_period;
  insert into budget (scope, key, unit, period, zone, starts_on, hard, soft, thresholds)
  values (p_scope, p_key, p_unit, p_period, p_zone, p_starts_on, p_hard, p_soft, coalesce(p_thresholds, '{50,80,100}'))
  on conflict (scope, key, unit, period) do update set zone = excluded.zone, starts_on = excluded.starts_on, hard = excluded.hard, soft = excluded.soft,
    thresholds = coalesce(p_thresholds, budget.thresholds), updated_at = now()
  returning id into v_id;
  with moved as (
    delete from account a using budget_period(p_period, p_zone, p_starts_on, clock_timestamp()) p
     where a.budget = v_id and a.ends > clock_timestamp() and (a.starts, a.ends) <> (p.starts, p.ends) returning a.key, a.extra)
  select array_agg(key), array_agg(extra) into v_keys, v_extras from moved;
  -- A rule of its own takes the place of the rule for each: that one's account of this key is of no more use.
  if p_key <> '*' then
    delete from account a using budget b where b.id = a.budget and b.scope = p_scope and b.key = '*' and b.unit = p_unit and b.period = p_period
      and a.key = p_key and a.ends > clock_timestamp();
  end if;
  perform 1 from account where budget = v_id and ends > clock_timestamp() order by id for no key update;
  update account a set hard = p_hard + a.extra, ceiling = case when p_hard is not null then greatest(p_hard + a.extra, a.spent + a.reserved) end
   where a.budget = v_id and a.ends > clock_timestamp();
  if p_scope = 'task' then   -- of those that have spent nothing there may be many
    if p_key <> '*' and exists (select 1 from charge where task = p_key::bigint) then perform budget_open_key(p_scope, p_key); end if;
  elsif p_key <> '*' then
    perform budget_open_key(p_scope, p_key);
  elsif v_old.id is null then
    for v in select distinct case p_scope when 'service' then c.service when 'project' then c.project else c.agent end as key
               from budget_period(p_period, p_zone, p_starts_on, clock_timestamp()) p join charge c on c.at >= p.starts and c.at < p.ends loop
      if v.key is not null then perform budget_open_key(p_scope, v.key); end if;
    end loop;
  end if;
  for i in 1..coalesce(cardinality(v_keys), 0) loop
    perform budget_open_key(p_scope, v_keys[i]);
    update account set extra = v_extras[i], hard = hard + v_extras[i], ceiling = greatest(hard + v_extras[i], spent + reserved)
     where budget = v_id and key = v_keys[i] and ends > clock_timestamp() and hard is not null and v_extras[i] > 0;
  end loop;
  if p_scope = 'service' then
    update service s set exhausted_until = null where s.exhausted_until is not null and coalesce(p_hard > v_old.hard, true)
       and (s.name = p_key or p_key = '*' and not exists (select 1 from budget o where o.scope = 'service' and o.key = s.name and o.unit = p_unit and o.period = p_period));
  end if;
  perform budget_rearm(a.id) from account a where a.budget = v_id and a.ends > clock_timestamp() order by a.id;
  return v_id;
end $$;

create or replace function budget_override(p_budget bigint, p_key text, p_extra bigint) returns boolean language plpgsql as $$
declare v_id bigint;
begin
  select id into v_id from account where budget = p_budget and key = p_key and starts <= clock_timestamp() and clock_timestamp() < ends for no key update;
  if not found then return false; end if;
  update account set extra = extra + p_extra, hard = hard + p_extra, ceiling = greatest(hard + p_extra, spent + reserved) where id = v_id and hard is not null;
  update budget set updated_at = clock_timestamp() where id = p_budget;
  update service s set exhausted_until = null from budget b where b.id = p_budget and b.scope = 'service' and s.name = p_key;
  perform budget_rearm(v_id);
  return true;
end $$;
