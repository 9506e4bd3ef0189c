-- A record that was begun anew has no more wins than uses, whatever is said later of runs from before.
create or replace function knowledge_credit(p_run bigint, p_credit text) returns int language plpgsql security definer set search_path = public, pg_temp as $$
declare v_count int;
begin
  perform 1 from memory where number in (select memory from injection where run = p_run and credit is distinct from p_credit)
    order by number for no key update;
  with before as (select memory, credit from injection where run = p_run and credit is distinct from p_credit for update),
  marked as (update injection i set credit = p_credit from before b where i.run = p_run and i.memory = b.memory),
  counted as (
    update memory m set uses = m.uses + (b.credit is null)::int, last_used_at = clock_timestamp(),
           wins = least(m.uses + (b.credit is null)::int,
                        greatest(0, m.wins + (p_credit = 'won')::int - (b.credit is not distinct from 'won')::int))
      from before b where m.number = b.memory returning 1)
  select count(*) into v_count from counted;
  return v_count;
end $$;
update memory set wins = uses where wins > uses;

-- A person's word on an item is on the trail; the credits of runs, of which there are very many, stand beside what each run was told.
create function knowledge_vote(p_memory int, p_up boolean) returns void language plpgsql security definer set search_path = public, pg_temp as $$
declare v record;
begin
  update memory set uses = uses + 1, wins = wins + p_up::int, last_used_at = clock_timestamp(), cold = false
   where number = p_memory returning id, uses, wins into v;
  insert into audit (actor, role, kind, key, action, before, after)
  select coalesce(nullif(current_setting('qd.actor', true), ''), session_user), coalesce(nullif(current_setting('role', true), 'none'), 'owner'),
         'memory', v.id::text, 'update', jsonb_build_object('uses', v.uses - 1, 'wins', v.wins - p_up::int), jsonb_build_object('uses', v.uses, 'wins', v.wins)
   where found;
end $$;
revoke execute on function knowledge_vote(int, boolean) from public;
grant execute on function knowledge_vote(int, boolean) to qd_supervisor, qd_admin, qd_engine;

create or replace trigger audit_update
  after update of corpus, kind, state, title, content, tags, source, path, invalid_at, superseded_by, replaces, doubt, note, cold on memory
  for each row when (old.origin <> 'file') execute function qd_audit('id', 'uses', 'wins', 'last_used_at', 'updated_at', 'number');
