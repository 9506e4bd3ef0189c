-- For people and programs outside: how the crew does, what is worth most, what goes wrong most, what there is to know for a task.

create view agent_performance as
select date_trunc('week', r.finished_at) as week, r.project as project_id, r.agent, count(distinct r.task) as tasks_attempted,
       count(distinct r.task) filter (where r.status = 'succeeded') as tasks_succeeded,
       round(count(distinct r.task) filter (where r.status = 'succeeded')::numeric / count(distinct r.task) * 100, 2) as success_rate,
       round((avg(extract(epoch from r.finished_at - r.started_at) / 3600) filter (where r.status = 'succeeded'))::numeric, 3) as avg_hours_to_complete,
       sum(r.cost_usd) as cost_usd
  from run r where r.finished_at is not null and r.status in ('succeeded', 'failed')
 group by 1, 2, 3 order by 1 desc, 2, 3;

create view valuable_patterns as
select m.title as name, p.slug, p.category, coalesce(nullif(p.projects, '{}'), case when c.project is null then null else array[c.project] end) as projects,
       m.uses as usage_count, round(knowledge_worth(m.uses, m.wins)::numeric, 2) as success_rate,
       round((m.uses * knowledge_worth(m.uses, m.wins))::numeric, 2) as value_score
  from pattern p join memory m on m.number = p.memory join corpus c on c.id = m.corpus
 where m.state = 'active' order by value_score desc, m.title;

create view common_errors as
select c.project as project_id, l.type as error_type, l.error as error_message, count(s.run) as occurrence_count,
       count(s.run) filter (where s.worked) as times_fixed, mode() within group (order by s.fix) filter (where s.worked) as most_common_fix, l.rule as prevention_rule
  from lesson l join memory m on m.number = l.memory join corpus c on c.id = l.corpus join sighting s on s.lesson = l.memory
 where m.state = 'active' group by c.project, l.memory, l.type, l.error, l.rule having count(s.run) > 2
 order by occurrence_count desc;

-- What there is to know for a piece of work in a project: words alone, no model needed.
create function get_task_context(project text, text text)
returns table (section text, id uuid, title text, content text, source text, score real) language sql stable as $$
  with of_it as (select array_agg(c.id) as ids from corpus c where c.project = $1 or c.project is null),
  found as (
    select m.*, k.score * knowledge_worth(m.uses, m.wins) * 2 as value, k.coverage,
           row_number() over (partition by m.kind order by k.score * knowledge_worth(m.uses, m.wins) desc) as place
      from of_it, knowledge_match($2, of_it.ids, 200) k join memory m on m.number = k.memory
     where not m.cold and k.coverage >= 0.2),
  standards as (
    select m.*, 0::real as value from of_it, memory m where m.corpus = any (of_it.ids) and m.kind = 'standard' and m.state = 'active' and m.origin <> 'file')
  select 'standards', s.id, s.title, s.content, s.source, s.value from standards s
  union all
  (select case f.kind when 'pattern' then 'patterns' when 'lesson' then 'errors to avoid' when 'decision' then 'past decisions'
               when 'requirement' then 'requirements' else 'similar work' end,
          f.id, f.title, f.content, f.source, f.value::real
     from found f left join decision d on d.memory = f.number
    where f.kind <> 'standard' and f.place <= case when f.kind in ('code', 'documentation') then 5 else 3 end and coalesce(d.repeat, true)
    order by f.value desc)
$$;
