-- What an item of code defines, by its name alone: `Berth.moor (berths.py)` defines moor. Maps of repositories follow it.
create function knowledge_name(p_title text) returns text language sql immutable parallel safe as $$
  select split_part(split_part(p_title, ' (', 1), '.', -1)
$$;
create index memory_name on memory (knowledge_name(title), corpus) where origin = 'file' and state = 'active' and kind = 'code';
