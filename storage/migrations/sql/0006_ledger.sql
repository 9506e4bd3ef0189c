-- A budget that only counts has no ceiling: what has no limit must not stop at what was spent when its account was opened.
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
             counted = case when v.unit = 'runs' and not exists (
                 select 1 from charge e where e.run = c.run and e.status <> 'released' and e.at >= v_period.starts and e.at < v_period.ends and e.id < c.id
                    and (v.scope <> 'service' or e.service = v.whose)) and c.run is not null
               then c.counted || v_id else c.counted end
       where c.status <> 'released' and c.at >= v_period.starts and c.at < v_period.ends and not c.accounts @> array[v_id]
         and case v.scope when 'service' then c.service = v.whose when 'project' then c.project = v.whose when 'task' then c.task = v.whose::bigint
                          when 'agent' then c.agent = v.whose else true end
      returning c.*),
    sums as (
      select coalesce(sum(budget_amount(v.unit, e.cost_micro, e.tokens, e.counted @> array[v_id])) filter (where e.status <> 'reserved'), 0)::bigint as spent,
             coalesce(sum(budget_amount(v.unit, e.reserved_micro, e.reserved_tokens, e.counted @> array[v_id])) filter (where e.status = 'reserved'), 0)::bigint as reserved
        from entered e)
    insert into account (id, budget, key, unit, starts, ends, hard, ceiling, spent, reserved, next_alert) overriding system value
    select v_id, v.id, v.whose, v.unit, v_period.starts, v_period.ends, v.hard, case when v.hard is not null then greatest(v.hard, s.spent + s.reserved) end, s.spent, s.reserved,
           budget_next_alert(s.spent, v.hard, v.soft, v.thresholds)
      from sums s;
    v_n := v_n + 1;
  end loop;
  return v_n;
end $$;

update account set ceiling = null where hard is null and ceiling is not null;
