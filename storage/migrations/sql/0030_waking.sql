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
                then (b.hard is null or coalesce(a.hard - a.spent, b.hard) >= w.need)
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
