-- Whether an item is for a project: a pattern may name projects and stacks, a standard stacks by its tags `stack.NAME`. In one place, for search
-- and for outside callers.
create function knowledge_applies(p_kind memory_kind, p_tags text[], p_projects text[], p_stacks text[], p_project text, p_stack text)
  returns boolean language sql immutable parallel safe as $$
  select (coalesce(p_projects, '{}') = '{}' or p_project = any (p_projects))
     and (coalesce(p_stacks, '{}') = '{}' or coalesce(p_stack, '') = any (p_stacks))
     and (p_kind <> 'standard' or not exists (select 1 from unnest(p_tags) t where t like 'stack.%')
          or 'stack.' || lower(coalesce(p_stack, '')) = any (p_tags))
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
    with found as (
      select m.*, k.score * knowledge_worth(m.uses, m.wins) * 2 as value,
             row_number() over (partition by m.kind order by k.score * knowledge_worth(m.uses, m.wins) desc) as place
        from knowledge_match($2, v_ids, 200) k join memory m on m.number = k.memory
        left join pattern p on p.memory = m.number left join decision d on d.memory = m.number
       where not m.cold and k.coverage >= 0.2 and m.kind <> 'standard' and coalesce(d.repeat, true)
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
