-- A project may be built with several things, as nextjs-supabase is with nextjs and supabase: what holds for one of them holds for it.
create function knowledge_stacks(p_stack text) returns text[] language sql immutable parallel safe as $$
  select array_append(regexp_split_to_array(lower(coalesce(p_stack, '')), '[^[:alnum:].#+]+'), lower(coalesce(p_stack, '')))
$$;

create or replace function knowledge_applies(p_kind memory_kind, p_tags text[], p_projects text[], p_stacks text[], p_project text, p_stack text)
  returns boolean language sql immutable parallel safe as $$
  select (coalesce(p_projects, '{}') = '{}' or p_project = any (p_projects))
     and (coalesce(p_stacks, '{}') = '{}' or exists (select 1 from unnest(p_stacks) s where lower(s) = any (knowledge_stacks(p_stack))))
     and (p_kind <> 'standard' or not exists (select 1 from unnest(p_tags) t where t like 'stack.%')
          or exists (select 1 from unnest(p_tags) t where t like 'stack.%' and substr(t, 7) = any (knowledge_stacks(p_stack))))
$$;
