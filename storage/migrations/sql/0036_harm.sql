-- Those of some items that do harm in a project: runs told of them succeed far less often (below the share p_poor) than the project's others,
-- once p_enough runs have ended that were told of one. A standard holds for every run, and says nothing about which: it is never one. In one
-- place, for the program and for outside callers.
create function knowledge_harmful(p_project text, p_numbers int[], p_enough int default 3, p_poor real default 0.6)
  returns setof int language sql stable as $$
  with asked as (select m.number, m.uses, m.wins from memory m where m.number = any (p_numbers) and m.kind <> 'standard'),
  base as (
    select (count(*) filter (where r.status = 'succeeded') + 1)::real / (count(*) + 2) as share
      from (select number, status from run where project = p_project and status in ('succeeded', 'failed') order by number desc limit 100) r
     where not exists (select 1 from injection i where i.run = r.number and i.memory in (select number from asked)))
  select a.number from asked a, base b where a.uses >= p_enough and (a.wins + 1)::real / (a.uses + 2) < p_poor * b.share
$$;

create or replace function get_task_context(project text, text text)
returns table (section text, id uuid, title text, content text, source text, score real) language plpgsql stable as $$
#variable_conflict use_column
declare v_stack text; v_ids smallint[];
begin
  select p.stack into v_stack from project p where p.id = $1;
  if not found then
    raise exception 'no project "%"', coalesce($1, '') using errcode = 'QD404', hint = 'see `qd project list`';
  end if;
  select array_agg(c.id) into v_ids from corpus c where c.project = $1 or c.project is null;
  return query
    with near as materialized (select k.memory, k.score from knowledge_match($2, v_ids, 200) k where k.coverage >= 0.2),
    harmful as materialized (select h from knowledge_harmful($1, array(select n.memory from near n)) h),
    found as (
      select m.*, n.score * knowledge_worth(m.uses, m.wins) * 2 as value,
             row_number() over (partition by m.kind order by n.score * knowledge_worth(m.uses, m.wins) desc) as place
        from near n join memory m on m.number = n.memory
        left join pattern p on p.memory = m.number left join decision d on d.memory = m.number
       where not m.cold and m.kind <> 'standard' and coalesce(d.repeat, true) and m.number not in (select h from harmful)
         and knowledge_applies(m.kind, m.tags, p.projects, p.stacks, $1, v_stack))
    select 'standards', s.id, s.title, s.content, s.source, 0::real from memory s
     where s.corpus = any (v_ids) and s.kind = 'standard' and s.state = 'active' and s.origin <> 'file' and not s.cold
       and knowledge_applies(s.kind, s.tags, null, null, $1, v_stack)
    union all
    (select case f.kind when 'pattern' then 'patterns' when 'lesson' then 'errors to avoid' when 'decision' then 'past decisions'
                 when 'requirement' then 'requirements' else 'similar work' end,
            f.id, f.title, f.content, f.source, f.value::real
       from found f where f.place <= case when f.kind in ('code', 'documentation') then 5 else 3 end order by f.value desc);
end $$;
