-- Reserve, settle, sweep; the rules' changes; the check of the books.

-- When the period began that holds p_at, and the next one: by the clock on the wall of p_zone, so that a day may have 23 or 25
-- hours and a month begins at its midnight there. Hours count from the Unix epoch. 'total' has no end.
create function budget_period(p_period text, p_zone text, p_starts_on int, p_at timestamptz, out starts timestamptz, out ends timestamptz)
  language plpgsql stable parallel safe as $$
declare v_local timestamp := p_at at time zone p_zone; v_first timestamp; v_step interval; v_hours bigint; v_shift interval := interval '0';
begin
  if p_period = 'total' then starts := '-infinity'; ends := 'infinity'; return; end if;
  if p_period ~ '^[0-9]+h$' then
    v_hours := rtrim(p_period, 'h')::bigint * 3600;
    starts := to_timestamp(floor(extract(epoch from p_at) / v_hours) * v_hours);
    ends := starts + make_interval(secs => v_hours);
    return;
  end if;
  if p_period = 'month' then v_shift := make_interval(days => p_starts_on - 1); end if;
  v_step := ('1 ' || p_period)::interval;
  v_first := date_trunc(p_period, v_local - v_shift);
  starts := (v_first + v_shift) at time zone p_zone;
  ends := (v_first + v_step + v_shift) at time zone p_zone;
  -- Where clocks go back over midnight, the hour before it comes twice; the second time is before the reset by the wall and after it in truth.
  if p_at >= ends then starts := ends; ends := (v_first + 2 * v_step + v_shift) at time zone p_zone; end if;
  if p_at < starts then ends := starts; starts := (v_first - v_step + v_shift) at time zone p_zone; end if;
end $$;

-- What a charge is in the unit of an account.
create function budget_amount(p_unit text, p_micro bigint, p_tokens bigint, p_counted boolean) returns bigint language sql immutable parallel safe as $$
  select case p_unit when 'usd' then p_micro when 'tokens' then p_tokens when 'calls' then 1 else p_counted::int end
$$;

-- The amount of `spent` at which the next alert of an account is due.
create function budget_next_alert(p_spent bigint, p_hard bigint, p_soft bigint, p_thresholds int[]) returns bigint language sql immutable as $$
  select min(x) from (
    select ceil(coalesce(p_hard, p_soft)::numeric * t / 100)::bigint as x from unnest(p_thresholds) t union all select p_soft) m
   where x > p_spent and x > 0
$$;

create function budget_name(p_scope text, p_key text) returns text language sql immutable as $$
  select case p_scope when 'day' then 'the day' when 'task' then 'task #' || p_key else p_scope || ' ' || p_key end
$$;

create function budget_shown(p_unit text, p_amount bigint) returns text language sql immutable as $$
  select case p_unit when 'usd' then '$' || trim_scale(round(p_amount / 1000000.0, 4)) else p_amount || ' ' || p_unit end
$$;

-- The rules that concern somebody, with the key of the account under each: a rule of its own goes before the rule for each.
create function budget_rules(p_service text, p_project text, p_task bigint, p_agent text)
  returns table (budget bigint, key text) language sql stable rows 5 as $$
  select distinct on (b.scope, b.unit, b.period) b.id, k.key
    from (values ('service', p_service), ('project', p_project), ('task', p_task::text), ('agent', p_agent), ('day', '')) k (scope, key)
    join budget b on b.scope = k.scope and b.key in (k.key, '*')
   where k.key is not null order by b.scope, b.unit, b.period, b.key = '*'
$$;

-- ── opening accounts ────────────────────────────────────────────────────────────────────────────────────────────

-- Makes the accounts of the present periods for somebody, and enters the charges that these periods hold already. Alone with the
-- rules' lock: no reserve is under way that could miss the new account (B2). Called once per period and key.
create function budget_open(p_service text, p_project text, p_task bigint, p_agent text, p_at timestamptz default null) returns int language plpgsql as $$
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
    select v_id, v.id, v.whose, v.unit, v_period.starts, v_period.ends, v.hard, greatest(v.hard, s.spent + s.reserved), s.spent, s.reserved,
           budget_next_alert(s.spent, v.hard, v.soft, v.thresholds)
      from sums s;
    v_n := v_n + 1;
  end loop;
  return v_n;
end $$;

-- ── reserve ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- Reserves a call against every account that concerns it: all or nothing. p_token names the run; without one p_project, p_task and p_agent do.
--   p_input_tokens, p_input_micro   the bound of what goes in, and its price at the dearest rate
--   p_output, p_least               tokens of output that are wanted and that make sense at least, for each of p_choices answers
--   p_output_rate                   micro-dollars per million tokens
--   p_patient                       rather wait than be cut short by what others have reserved and may give back
-- Outcome: granted (with `output` tokens per answer and `reserved` micro-dollars); dead: no such run is alive; suspended; limit: not
-- before the period ends (`until`); busy: what is reserved now is in the way; open: call budget_open and ask again; unknown: no such service.
--
-- The first look at the accounts is without locks: when the conditional updates agree with it, the rows that everybody wants are held
-- for the update and the commit alone. When one does not, all is undone, the rows are locked and looked at again.
create function budget_reserve(
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
                                              and c.counted @> array[v.id] and c.status <> 'released') then
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

-- An account has refused: the service shows it, a person is told once per period.
create function budget_refused(p_budget bigint, p_key text, p_at timestamptz, p_service text) returns void language plpgsql as $$
declare v record;
begin
  select b.scope, a.key, a.unit, a.spent, a.reserved, a.hard, a.starts, a.ends into v
    from account a join budget b on b.id = a.budget where a.budget = p_budget and a.key = p_key and a.starts <= p_at and p_at < a.ends;
  if v.scope = 'service' then
    update service set exhausted_until = v.ends where name = p_service and exhausted_until is distinct from v.ends;
  end if;
  insert into alert (kind, scope, key, period_start, text, data)
  values ('exhausted', v.scope, v.key, v.starts,
          format('the budget of %s is used up: %s of %s', budget_name(v.scope, v.key), budget_shown(v.unit, v.spent), budget_shown(v.unit, v.hard)),
          jsonb_build_object('unit', v.unit, 'spent', v.spent, 'hard', v.hard, 'until', v.ends))
  on conflict do nothing;
end $$;

-- ── settle ──────────────────────────────────────────────────────────────────────────────────────────────────────

-- Ends a charge: 'settled' at its cost, or 'released' (the provider did nothing), or 'presumed' by the sweep. Repeating it changes nothing;
-- a presumed charge is corrected. What costs more than was reserved is entered all the same: truth goes before the limit, and is told.
create function budget_settle(
    p_id uuid, p_status text, p_basis text, p_cost bigint, p_input bigint default 0, p_cache_read bigint default 0, p_write_5m bigint default 0,
    p_write_1h bigint default 0, p_output bigint default 0, p_thinking bigint default 0, p_note text default null, p_model text default null)
  returns text language plpgsql as $$
declare
  c charge; v_tokens bigint := p_input + p_cache_read + p_write_5m + p_write_1h + p_output; v_cost bigint := p_cost; v_id bigint; v_open int; v_was int; v_on int;
  v_due boolean; v_counted boolean; v_excess bigint; v_over boolean;
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
    update account a set
           reserved = a.reserved - budget_amount(a.unit, c.reserved_micro, c.reserved_tokens, v_counted) * v_open,
           spent = a.spent + budget_amount(a.unit, v_cost, v_tokens, v_counted) * v_on - budget_amount(a.unit, c.cost_micro, c.tokens, v_counted) * v_was
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
    if v_due then perform budget_alert(v_id); end if;
  end loop;
  return p_status;
end $$;

-- Tells, once each, every threshold that an account has passed.
create function budget_alert(p_account bigint) returns void language plpgsql as $$
declare v record; v_level int;
begin
  select a.id, b.scope, a.key, a.unit, a.spent, a.hard, b.soft, b.thresholds, a.starts, a.ends into v
    from account a join budget b on b.id = a.budget where a.id = p_account;
  foreach v_level in array v.thresholds loop
    if v.spent >= ceil(coalesce(v.hard, v.soft)::numeric * v_level / 100) then
      insert into alert (kind, scope, key, level, period_start, text, data)
      values ('threshold', v.scope, v.key, v_level, v.starts,
              format('%s has used %s %% of its budget: %s of %s', budget_name(v.scope, v.key), v_level, budget_shown(v.unit, v.spent),
                     budget_shown(v.unit, coalesce(v.hard, v.soft))),
              jsonb_build_object('unit', v.unit, 'spent', v.spent, 'hard', v.hard, 'until', v.ends))
      on conflict do nothing;
    end if;
  end loop;
  if v.spent >= v.soft then
    insert into alert (kind, scope, key, period_start, text, data)
    values ('soft', v.scope, v.key, v.starts,
            format('%s has passed its soft limit: %s of %s', budget_name(v.scope, v.key), budget_shown(v.unit, v.spent), budget_shown(v.unit, v.soft)),
            jsonb_build_object('unit', v.unit, 'spent', v.spent, 'soft', v.soft, 'until', v.ends))
    on conflict do nothing;
  end if;
  update account set next_alert = budget_next_alert(spent, v.hard, v.soft, v.thresholds) where id = p_account;
end $$;

create function budget_overrun(p_account bigint, p_service text, p_model text, p_excess bigint) returns void language sql as $$
  insert into alert (kind, scope, key, period_start, text, data)
  select 'overrun', b.scope, a.key, a.starts,
         format('a call of %s to %s cost %s more than its bound, charged to %s', p_model, p_service, budget_shown(a.unit, p_excess), budget_name(b.scope, a.key)),
         jsonb_build_object('unit', a.unit, 'excess', p_excess, 'model', p_model)
    from account a join budget b on b.id = a.budget where a.id = p_account
  on conflict do nothing
$$;

-- Presumes spent, in full, one reservation whose gateway is gone: one per transaction; ask until null.
create function budget_sweep() returns uuid language plpgsql as $$
declare v uuid; v_gateway bigint;
begin
  for v_gateway in select g.id from gateway g where g.lease_until < clock_timestamp() and not g.swept order by g.id loop
    select c.id into v from charge c where c.gateway = v_gateway and c.status = 'reserved' limit 1 for no key update of c skip locked;
    if found then
      perform budget_settle(v, 'presumed', 'imputed', 0, p_note => 'its gateway ended before the call did');
      return v;
    end if;
    update gateway g set swept = true where g.id = v_gateway and g.lease_until < clock_timestamp()
       and not exists (select 1 from charge c where c.gateway = v_gateway and c.status = 'reserved');
  end loop;
  return null;
end $$;

-- A gateway comes. Earlier processes of the same name are gone: what they had reserved is the sweep's.
create function gateway_register(p_name text, p_pid int, p_url text, p_version text, p_ttl interval) returns bigint language plpgsql as $$
declare v bigint;
begin
  update gateway set lease_until = clock_timestamp() - interval '1 us' where name = p_name and lease_until > clock_timestamp();
  insert into gateway (name, pid, url, version, lease_until) values (p_name, p_pid, p_url, p_version, clock_timestamp() + p_ttl) returning id into v;
  return v;
end $$;

-- The lease of all that a gateway has reserved is this one row. One that was away too long takes it up again: its late settles correct the sweep.
create function gateway_heartbeat(p_gateway bigint, p_ttl interval) returns void language sql as $$
  update gateway set lease_until = clock_timestamp() + p_ttl, swept = false where id = p_gateway
$$;

-- ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Sets a rule and brings the accounts of the present period in line. A limit below what is spent stops all further calls.
create function budget_set(p_scope text, p_key text, p_unit text, p_period text, p_hard bigint, p_soft bigint, p_zone text default 'UTC',
                           p_starts_on int default 1, p_thresholds int[] default null) returns bigint language plpgsql as $$
declare v_id bigint; v_old budget;
begin
  perform pg_advisory_xact_lock(hashtext('qd.budget'));
  perform clock_timestamp() at time zone p_zone;   -- raises invalid_parameter_value for a zone that does not exist
  select * into v_old from budget where scope = p_scope and key = p_key and unit = p_unit and period = p_period;
  insert into budget (scope, key, unit, period, zone, starts_on, hard, soft, thresholds)
  values (p_scope, p_key, p_unit, p_period, p_zone, p_starts_on, p_hard, p_soft, coalesce(p_thresholds, '{50,80,100}'))
  on conflict (scope, key, unit, period) do update set zone = excluded.zone, starts_on = excluded.starts_on, hard = excluded.hard, soft = excluded.soft,
    thresholds = coalesce(p_thresholds, budget.thresholds), updated_at = now()
  returning id into v_id;
  if v_old.id is not null and (v_old.zone, v_old.starts_on) is distinct from (p_zone, p_starts_on::smallint) then
    delete from account where budget = v_id and ends > clock_timestamp();   -- opened again, with the charges that the new period holds
  end if;
  -- A rule of its own takes the place of the rule for each: that one's account of this key is of no more use.
  if p_key <> '*' then
    delete from account a using budget b where b.id = a.budget and b.scope = p_scope and b.key = '*' and b.unit = p_unit and b.period = p_period
      and a.key = p_key and a.ends > clock_timestamp();
  end if;
  perform 1 from account where budget = v_id and ends > clock_timestamp() order by id for no key update;
  update account a set hard = p_hard + a.extra, ceiling = case when p_hard is not null then greatest(p_hard + a.extra, a.spent + a.reserved) end,
         next_alert = budget_next_alert(a.spent, p_hard + a.extra, p_soft, coalesce(p_thresholds, v_old.thresholds, '{50,80,100}'))
   where a.budget = v_id and a.ends > clock_timestamp();
  if p_scope = 'service' then
    update service set exhausted_until = null where name = p_key and exhausted_until is not null and coalesce(p_hard > v_old.hard, true);
  end if;
  if coalesce(p_hard > v_old.hard, true) then   -- what is told once is told again for the new limit
    delete from alert where scope = p_scope and key = p_key and kind in ('threshold', 'exhausted', 'soft')
      and period_start in (select starts from account where budget = v_id and ends > clock_timestamp());
  end if;
  return v_id;
end $$;

-- A person lets a budget go beyond its limit, in this period only.
create function budget_override(p_budget bigint, p_key text, p_extra bigint) returns boolean language plpgsql as $$
declare v_id bigint;
begin
  select id into v_id from account where budget = p_budget and key = p_key and starts <= clock_timestamp() and clock_timestamp() < ends for no key update;
  if not found then return false; end if;
  update account set extra = extra + p_extra, hard = hard + p_extra, ceiling = greatest(hard + p_extra, spent + reserved) where id = v_id and hard is not null;
  update service s set exhausted_until = null from budget b where b.id = p_budget and b.scope = 'service' and s.name = p_key;
  return true;
end $$;

-- The most that a task may cost is a budget like any other.
create function budget_of_task() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if new.max_cost_usd is null then
    delete from budget where scope = 'task' and key = new.task::text and unit = 'usd' and period = 'total';
  else
    perform budget_set('task', new.task::text, 'usd', 'total', (new.max_cost_usd * 1000000)::bigint, null);
  end if;
  return null;
end $$;
create trigger budget_added after insert on task_body for each row when (new.max_cost_usd is not null) execute function budget_of_task();
insert into budget (scope, key, unit, period, hard)
select 'task', task::text, 'usd', 'total', (max_cost_usd * 1000000)::bigint from task_body where max_cost_usd is not null;
create trigger budget_changed after update of max_cost_usd on task_body for each row
  when (old.max_cost_usd is distinct from new.max_cost_usd) execute function budget_of_task();

-- ── waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- Makes ready the tasks whose budget has room again: raised, a new period, an override, a service resumed or mended. Returns how many.
create function budget_wake(p_at timestamptz default null) returns int language plpgsql as $$
declare v_at timestamptz := coalesce(p_at, clock_timestamp()); v record; v_n int := 0;
begin
  for v in
    select w.task from budget_wait w
      left join service s on s.name = w.service
      left join budget b on b.id = w.budget
      left join account a on a.budget = w.budget and a.key = w.key and a.starts <= v_at and v_at < a.ends
     where not coalesce(s.suspended, false)
       and (w.budget is null or b.id is null or b.hard is null
            or (case when a.id is null then b.hard else a.hard - a.spent end) >= w.need)
     order by w.task
  loop
    if task_move(v.task, '{waiting}', 'pending') is not null then v_n := v_n + 1; end if;
    delete from budget_wait where task = v.task;
  end loop;
  delete from budget_wait w where not exists (select 1 from task t where t.number = w.task and t.status = 'waiting' and t.wait = 'budget')
    and w.since < v_at - interval '1 minute';
  return v_n;
end $$;

-- ── the check of the books: every row must be 0, after each fault test and hourly in production ─────────────────

create function budget_reconcile() returns table (what text, n bigint) language sql stable as $$
  with sums as (
    select i.id, coalesce(sum(budget_amount(i.unit, c.cost_micro, c.tokens, c.counted @> array[i.id])) filter (where c.status in ('settled', 'presumed')), 0) as spent,
           coalesce(sum(budget_amount(i.unit, c.reserved_micro, c.reserved_tokens, c.counted @> array[i.id])) filter (where c.status = 'reserved'), 0) as reserved
      from account i left join charge c on c.accounts @> array[i.id] group by i.id)
  select 'spent is not the sum of the ledger', count(*) from account a join sums s using (id) where a.spent <> s.spent
  union all select 'reserved is not the sum of the ledger', count(*) from account a join sums s using (id) where a.reserved <> s.reserved
  union all select 'beyond the limit', count(*) from account a join budget b on b.id = a.budget
    where a.hard is not null and a.spent + a.reserved > a.hard + a.overrun and a.hard = b.hard + a.extra and a.ceiling = a.hard
  union all select 'two accounts for one moment', count(*) from account a join account o on o.budget = a.budget and o.key = a.key and o.id > a.id
    and o.starts < a.ends and a.starts < o.ends
  union all select 'charge missing in an account', count(*) from account a join budget b on b.id = a.budget join charge c
      on c.at >= a.starts and c.at < a.ends and c.status <> 'released' and not c.accounts @> array[a.id]
     and case b.scope when 'service' then c.service = a.key when 'project' then c.project = a.key when 'task' then c.task::text = a.key
                      when 'agent' then c.agent = a.key else true end
  union all select 'settled below its parts', count(*) from charge
    where status = 'settled' and tokens <> tokens_input + tokens_cache_read + tokens_cache_write_5m + tokens_cache_write_1h + tokens_output
$$;
