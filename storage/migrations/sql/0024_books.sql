-- The weakest of several labels: what a sum is made of.
create function budget_weakest(p_labels text[]) returns text language sql immutable parallel safe as $$
  select case when 'imputed' = any(p_labels) then 'imputed' when 'estimated' = any(p_labels) then 'estimated'
              when 'measured' = any(p_labels) then 'measured' end
$$;

-- Of what a run has cost: as its charges say, else by its agent's own word.
alter table run add column cost_basis text check (cost_basis in ('measured', 'estimated', 'imputed'));
update run r set cost_basis = coalesce((
    select budget_weakest(array_agg(c.basis)) from charge c where c.task = r.task and c.run = r.number and c.kind = 'call'), 'estimated')
 where r.cost_usd > 0;

-- A run that a call has counted stays counted when that call is released and others of the run go on: else one more would fit in its place.
-- The released charge then goes on naming the account in `counted`. Both functions know of this, and a settle of the labels; the rest
-- of them is as it was.

create or replace function budget_reserve(
    p_id uuid, p_token bytea, p_service text, p_model text, p_gateway bigint, p_input_tokens bigint, p_input_micro bigint, p_output bigint, p_least bigint,
    p_output_rate bigint, p_choices int, p_patient boolean, p_instead_of text default null, p_at timestamptz default null, p_kind text default 'call',
    p_project text default null, p_task bigint default null, p_agent text default null, p_actor text default null)
  returns table (outcome text, output bigint, reserved bigint, run bigint, task bigint, project text, agent text, budget bigint, key text, need bigint,
                 until timestamptz, reason text) language plpgsql as $$
declare
  v_at timestamptz := coalesce(p_at, clock_timestamp()); v record; v_service record; v_ids bigint[]; v_units text[]; v_counted bigint[];
  v_micro bigint; v_tokens bigint; v_fixed bigint; v_per numeric; v_least bigint; v_room bigint; v_rest bigint; v_want bigint; v_amount bigint; v_done int;
begin
  if p_token is not null then
    select r.number, r.task, r.project, r.agent into run, task, project, agent
      from run_token t join run r on r.number = t.run
     where t.hash = p_token and t.revoked_at is null and r.status in ('starting', 'running', 'verifying');
    if not found then outcome := 'dead'; return next; return; end if;
  else
    task := p_task; project := p_project; agent := p_agent;
  end if;
  if p_service is not null then
    select s.suspended, s.suspended_reason, s.exhausted_until into v_service from service s where s.name = p_service;
    if not found then outcome := 'unknown'; return next; return; end if;
    if v_service.suspended then outcome := 'suspended'; reason := v_service.suspended_reason; return next; return; end if;
  end if;
  perform pg_advisory_xact_lock_shared(hashtext('qd.budget'));

  for v_try in 1..2 loop
    if v_try = 2 then perform 1 from account a where a.id = any(v_ids) order by a.id for no key update; end if;
    v_ids := '{}'; v_units := '{}'; v_counted := '{}'; output := p_output; outcome := null; v_done := 0;
    for v in select a.id, r.budget, r.key, a.unit, a.hard, a.spent, a.reserved, a.ends
               from budget_rules(p_service, project, task, agent) r
               left join account a on a.budget = r.budget and a.key = r.key and a.starts <= v_at and v_at < a.ends order by a.id loop
      if v.id is null then outcome := 'open'; return next; return; end if;
      v_ids := v_ids || v.id; v_units := v_units || v.unit;
      if v.unit = 'runs' then
        if v_try = 1 then v_done := -1; end if;   -- whether its run is counted already can be seen behind the lock alone
        if run is not null and not exists (select 1 from charge c where c.task = budget_reserve.task and c.run = budget_reserve.run
                                              and c.counted @> array[v.id]) then
          v_counted := v_counted || v.id;
        end if;
      end if;
      continue when v.hard is null or outcome = 'limit';
      v_fixed := budget_amount(v.unit, p_input_micro, p_input_tokens, v_counted @> array[v.id]);
      v_per := case v.unit when 'usd' then p_output_rate::numeric / 1000000 * p_choices when 'tokens' then p_choices else 0 end;
      v_least := v_fixed + ceil(v_per * p_least)::bigint;
      v_rest := v.hard - v.spent;
      v_room := v_rest - v.reserved;
      -- A patient call takes what it wants, or all that will be left when everybody else is done; not the crumbs between.
      v_want := case when p_patient then least(v_fixed + ceil(v_per * p_output)::bigint, v_rest) else v_least end;
      if v_rest < v_least or v_room < v_want then
        outcome := case when v_rest < v_least then 'limit' else 'busy' end;
        budget := v.budget; key := v.key; need := v_least; until := v.ends;
      end if;
      if v_per > 0 then output := least(output, floor((v_room - v_fixed) / v_per)::bigint); end if;
    end loop;
    continue when v_done < 0;
    if outcome = 'limit' then
      perform budget_refused(budget, key, v_at, p_service);
      return next; return;
    elsif outcome = 'busy' then
      return next; return;
    end if;

    v_micro := p_input_micro + ceil(p_output_rate::numeric / 1000000 * p_choices * output)::bigint;
    v_tokens := p_input_tokens + output * p_choices;
    insert into charge (id, at, service, project, task, run, agent, gateway, kind, model, instead_of, status, accounts, counted, reserved_micro,
                        reserved_tokens, actor)
    values (p_id, v_at, p_service, project, task, run, agent, p_gateway, p_kind, p_model, p_instead_of, 'reserved', v_ids, v_counted, v_micro,
            v_tokens, p_actor)
    on conflict (id) do nothing;
    if not found then   -- asked again because a reply was lost: the first answer stands
      select c.reserved_micro, (c.reserved_tokens - p_input_tokens) / p_choices into reserved, output from charge c where c.id = p_id;
      outcome := 'granted'; return next; return;
    end if;
    for i in 1..cardinality(v_ids) loop
      v_amount := budget_amount(v_units[i], v_micro, v_tokens, v_counted @> array[v_ids[i]]);
      update account a set reserved = a.reserved + v_amount
       where a.id = v_ids[i] and (a.hard is null or a.spent + a.reserved + v_amount <= a.hard);
      exit when not found;
      v_done := i;
    end loop;
    if v_done = cardinality(v_ids) then
      if v_service.exhausted_until is not null then update service s set exhausted_until = null where s.name = p_service; end if;
      outcome := 'granted'; reserved := v_micro;
      return next; return;
    end if;
    update account a set reserved = a.reserved - budget_amount(a.unit, v_micro, v_tokens, v_counted @> array[a.id]) where a.id = any(v_ids[1:v_done]);
    delete from charge where id = p_id;
  end loop;
  raise exception 'budget_reserve: accounts changed behind their locks';
end $$;

create or replace function budget_settle(
    p_id uuid, p_status text, p_basis text, p_cost bigint, p_input bigint default 0, p_cache_read bigint default 0, p_write_5m bigint default 0,
    p_write_1h bigint default 0, p_output bigint default 0, p_thinking bigint default 0, p_note text default null, p_model text default null)
  returns text language plpgsql as $$
declare
  c charge; v_tokens bigint := p_input + p_cache_read + p_write_5m + p_write_1h + p_output; v_cost bigint := p_cost; v_id bigint; v_open int; v_was int; v_on int;
  v_estimated int := (p_status <> 'released' and p_basis = 'estimated')::int; v_imputed int := (p_status <> 'released' and p_basis = 'imputed')::int;
  v_due boolean; v_counted boolean; v_kept boolean; v_excess bigint; v_over boolean;
begin
  select * into c from charge where id = p_id for no key update;
  if not found then return 'unknown'; end if;
  if c.status not in ('reserved', 'presumed') or c.status = p_status then return 'repeated'; end if;
  if p_status = 'presumed' then v_cost := c.reserved_micro; v_tokens := c.reserved_tokens; end if;
  if p_status = 'released' then v_cost := 0; v_tokens := 0; end if;
  update charge set status = p_status, basis = case when p_status <> 'released' then p_basis end, cost_micro = v_cost, tokens = v_tokens,
         tokens_input = p_input, tokens_cache_read = p_cache_read, tokens_cache_write_5m = p_write_5m, tokens_cache_write_1h = p_write_1h,
         tokens_output = p_output, tokens_thinking = p_thinking, note = coalesce(p_note, note), model = coalesce(p_model, model), ended_at = clock_timestamp()
   where id = p_id;
  v_over := p_status = 'settled' and (v_cost > c.reserved_micro or v_tokens > c.reserved_tokens);   -- more than its bound: rare
  v_open := (c.status = 'reserved')::int; v_was := (c.status = 'presumed')::int; v_on := (p_status <> 'released')::int;
  foreach v_id in array c.accounts loop
    v_counted := c.counted @> array[v_id];
    v_kept := false;
    if v_counted and p_status = 'released' then
      perform 1 from account where id = v_id for no key update;   -- what reserves looks for the count of its run behind this lock too
      v_kept := exists (select 1 from charge o where o.task = c.task and o.run = c.run and o.id <> c.id and o.status <> 'released' and o.accounts @> array[v_id]);
      if not v_kept then update charge set counted = array_remove(counted, v_id) where id = p_id; end if;
    end if;
    update account a set
           reserved = a.reserved - budget_amount(a.unit, c.reserved_micro, c.reserved_tokens, v_counted) * v_open,
           spent = a.spent + budget_amount(a.unit, v_cost, v_tokens, v_counted) * v_on + v_kept::int - budget_amount(a.unit, c.cost_micro, c.tokens, v_counted) * v_was
     where a.id = v_id and (not v_over or a.unit not in ('usd', 'tokens'))
    returning a.spent >= a.next_alert into v_due;
    if not found and v_over then
      update account a set reserved = a.reserved - x.held * v_open, spent = a.spent + x.more, overrun = a.overrun + greatest(x.used - x.held, 0),
             ceiling = case when a.ceiling is not null then greatest(a.ceiling, a.spent + x.more + a.reserved - x.held * v_open) end
        from (select n.held, n.used, n.used - budget_amount(i.unit, c.cost_micro, c.tokens, v_counted) * v_was as more
                from account i, lateral (select budget_amount(i.unit, c.reserved_micro, c.reserved_tokens, v_counted) as held,
                                                budget_amount(i.unit, v_cost, v_tokens, v_counted) as used) n
               where i.id = v_id) x
       where a.id = v_id returning a.spent >= a.next_alert, x.used - x.held into v_due, v_excess;
      if v_excess > 0 then perform budget_overrun(v_id, c.service, c.model, v_excess); end if;
    end if;
    if v_estimated + v_imputed + v_was > 0 then   -- apart, so that a call that was measured pays nothing for it
      update account a
         set estimated = a.estimated + budget_amount(a.unit, v_cost, v_tokens, v_counted) * v_estimated,
             imputed = a.imputed + budget_amount(a.unit, v_cost, v_tokens, v_counted) * v_imputed   -- what is presumed is imputed
                                 - budget_amount(a.unit, c.cost_micro, c.tokens, v_counted) * v_was
       where a.id = v_id;
    end if;
    if v_due then perform budget_alert(v_id); end if;
  end loop;
  return p_status;
end $$;

-- A count that is kept is a run, whatever became of its call. Charges are looked at once each, not once per account.
create or replace function budget_reconcile() returns table (what text, n bigint) language sql stable as $$
  with entry as (
    select x.id, c.status, c.basis, c.cost_micro, c.tokens, c.reserved_micro, c.reserved_tokens, c.counted @> array[x.id] as counted
      from charge c cross join lateral unnest(c.accounts) x (id)),
  sums as (
    select a.id,
           coalesce(sum(case when e.status in ('settled', 'presumed') then budget_amount(a.unit, e.cost_micro, e.tokens, e.counted)
                             when e.status = 'released' and a.unit = 'runs' then e.counted::int end), 0) as spent,
           coalesce(sum(budget_amount(a.unit, e.cost_micro, e.tokens, e.counted)) filter (where e.status in ('settled', 'presumed') and e.basis = 'estimated'), 0) as estimated,
           coalesce(sum(budget_amount(a.unit, e.cost_micro, e.tokens, e.counted)) filter (where e.status in ('settled', 'presumed') and e.basis = 'imputed'), 0) as imputed,
           coalesce(sum(budget_amount(a.unit, e.reserved_micro, e.reserved_tokens, e.counted)) filter (where e.status = 'reserved'), 0) as reserved
      from account a left join entry e on e.id = a.id group by a.id)
  select 'spent is not the sum of the ledger', count(*) from account a join sums s using (id) where a.spent <> s.spent
  union all select 'reserved is not the sum of the ledger', count(*) from account a join sums s using (id) where a.reserved <> s.reserved
  union all select 'a label is not the sum of the ledger', count(*) from account a join sums s using (id)
    where (a.estimated, a.imputed) <> (s.estimated, s.imputed)
  union all select 'beyond the limit', count(*) from account a join budget b on b.id = a.budget
    where a.hard is not null and a.spent + a.reserved > a.hard + a.overrun and a.hard = b.hard + a.extra and a.ceiling = a.hard
  -- A reset that was moved makes the present period begin within one that is over, and that one takes no more charges.
  union all select 'two accounts for one moment', count(*) from account a join account o on o.budget = a.budget and o.key = a.key and o.id > a.id
    and o.starts < a.ends and a.starts < o.ends and least(a.ends, o.ends) > clock_timestamp()
  union all select 'charge missing in an account', count(*) from charge c
    cross join lateral (values ('service', c.service), ('project', c.project), ('task', c.task::text), ('agent', c.agent), ('day', '')) k (scope, key)
    join budget b on b.scope = k.scope join account a on a.budget = b.id and a.key = k.key and c.at >= a.starts and c.at < a.ends
    where c.status <> 'released' and not c.accounts @> array[a.id]
  union all select 'settled below its parts', count(*) from charge
    where status = 'settled' and tokens <> tokens_input + tokens_cache_read + tokens_cache_write_5m + tokens_cache_write_1h + tokens_output
$$;
