-- A call that was refused has cost nothing: what the agent tells of others counts all the same.
create or replace function budget_report(p_calls jsonb) returns void language plpgsql as $$
declare v record; v_at timestamptz := clock_timestamp(); v_all bigint[]; v_counted bigint[]; v_tokens bigint;
begin
  -- Accounts are opened before the lock of the rules is shared: to ask for it alone afterwards would be a deadlock of two who do so.
  for v in
    select distinct r.project, r.task, r.agent from jsonb_to_recordset(p_calls) as x (run bigint) join run r on r.number = x.run
     where exists (select 1 from budget_rules(null, r.project, r.task, r.agent) b
                    where not exists (select 1 from account a where a.budget = b.budget and a.key = b.key and a.starts <= v_at and v_at < a.ends))
     order by r.task
  loop
    perform budget_open(null, v.project, v.task, v.agent, v_at);
  end loop;
  perform pg_advisory_xact_lock_shared(hashtext('qd.budget'));
  select array_agg(distinct a.id) into v_all
    from (select distinct run from jsonb_to_recordset(p_calls) as x (run bigint)) x join run r on r.number = x.run
    cross join lateral budget_rules(null, r.project, r.task, r.agent) b
    join account a on a.budget = b.budget and a.key = b.key and a.starts <= v_at and v_at < a.ends;
  perform 1 from account a where a.id = any(v_all) order by a.id for no key update;

  for v in
    select x.*, r.task, r.project, r.agent,
           array(select a.id from budget_rules(null, r.project, r.task, r.agent) b
                   join account a on a.budget = b.budget and a.key = b.key and a.starts <= v_at and v_at < a.ends order by a.id) as accounts
      from jsonb_to_recordset(p_calls) as x (run bigint, model text, cost bigint, basis text, input bigint, cache_read bigint, cache_write bigint,
                                             output bigint, note text)
      join run r on r.number = x.run
     where not exists (select 1 from charge c where c.task = r.task and c.run = r.number and c.kind = 'call' and c.status <> 'released')
  loop
    v_tokens := v.input + v.cache_read + v.cache_write + v.output;
    v_counted := array(select a.id from account a where a.id = any(v.accounts) and a.unit = 'runs'
                          and not exists (select 1 from charge c where c.task = v.task and c.run = v.run and c.counted @> array[a.id]));
    insert into charge (id, at, project, task, run, agent, kind, model, status, basis, accounts, counted, cost_micro, tokens, tokens_input,
                        tokens_cache_read, tokens_cache_write_5m, tokens_output, note, ended_at)
    values (qd_uuid7(), v_at, v.project, v.task, v.run, v.agent, 'reported', v.model, 'settled', v.basis, v.accounts, v_counted, v.cost, v_tokens,
            v.input, v.cache_read, v.cache_write, v.output, v.note, v_at);
    update account a set spent = a.spent + x.more, estimated = a.estimated + x.more * (v.basis = 'estimated')::int,
           imputed = a.imputed + x.more * (v.basis = 'imputed')::int, ceiling = case when a.ceiling is not null then greatest(a.ceiling, a.spent + a.reserved + x.more) end
      from (select i.id, budget_amount(i.unit, v.cost, v_tokens, v_counted @> array[i.id]) as more from account i where i.id = any(v.accounts)) x
     where a.id = x.id;
  end loop;

  for v in select a.id, a.budget, a.key, a.spent >= a.next_alert as due, a.spent >= a.hard as full from account a where a.id = any(v_all) order by a.id loop
    if v.due then perform budget_alert(v.id); end if;
    if v.full then perform budget_refused(v.budget, v.key, v_at, null); end if;
  end loop;
end $$;
