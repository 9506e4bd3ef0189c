-- What was learned from is marked, so that it is learned once and found again after a crash; who has written a note; what takes whose place.

-- A failed check, once something was made of it or nothing could be.
alter table gate add column learned boolean not null default false;
update gate g set learned = true where g.status = 'failed' and exists (select 1 from sighting s where s.run = g.run);
create index gate_unlearned on gate (run) where status = 'failed' and not learned;
grant update (learned) on gate to qd_supervisor;

-- The engine writes into a review why it could not merge; only what a person says teaches. Of older notes nobody knows any more.
alter table review add column engine_note boolean not null default false, add column learned boolean not null default false;
drop trigger audit on review;
update review set engine_note = true where note is not null and status not in ('changes_requested', 'rejected');
update review v set learned = true where exists (
  select 1 from sighting s join lesson l on l.memory = s.lesson where s.run = v.run and l.type = 'review');
create trigger audit after insert or delete or update on review for each row execute function qd_audit('task', 'learned', 'engine_note');

-- Runs whose merged change was looked at for patterns.
create table learned_merge (
  run bigint primary key references run (number) on delete cascade,
  at timestamptz not null default clock_timestamp()
);
grant select on learned_merge to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert, update, delete on learned_merge to qd_admin, qd_supervisor, qd_engine;

-- `replaces`: what a proposal takes the place of once it is accepted. `doubt`: why an item that holds should be taken out, for a person to
-- decide; empty: it was asked once, and the item stands.
alter table memory add column replaces int references memory (number) on delete set null, add column doubt text;
create or replace trigger audit_update
  after update of corpus, kind, state, title, content, tags, source, path, invalid_at, superseded_by, replaces, doubt, note on memory
  for each row when (old.origin <> 'file') execute function qd_audit('id', 'uses', 'wins', 'last_used_at', 'updated_at', 'number');

-- What a person has put away of a file stays away as long as the file holds it so: the index looks for it by path.
create index memory_hidden on memory (corpus, path collate "C")
  where origin = 'file' and state in ('deleted', 'refused', 'deprecated', 'superseded');

-- The history of a pattern goes by the item, as that of the other kinds: its name may change, and another may take it.
drop trigger audit on pattern;
create trigger audit after insert or update or delete on pattern for each row execute function qd_audit('memory');
update audit a set key = p.memory::text from pattern p where a.kind = 'pattern' and a.key = p.slug;

-- Pairs of items that say opposite things, as the last consolidation found them. A person may say that both stand: then it is not said again
-- until one of them says something else.
create table contradiction (
  first int not null references memory (number) on delete cascade,
  second int not null references memory (number) on delete cascade,
  why text not null,
  seen_at timestamptz not null default clock_timestamp(),
  stands_by text,                            -- who has said that both stand
  hashes uuid[] not null,                    -- of what both said then
  primary key (first, second),
  check (first < second)
);
create trigger audit after insert or update or delete on contradiction for each row execute function qd_audit('first', 'seen_at', 'hashes');
grant select on contradiction to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert, update, delete on contradiction to qd_admin, qd_supervisor, qd_engine;

-- An agent's search leaves out what does harm in its project, which is reckoned from what runs of the project were told.
alter table injection enable row level security;
create policy crew on injection to qd_admin, qd_supervisor, qd_viewer, qd_engine using (true) with check (true);
create policy own on injection for select to qd_agent using (exists (select 1 from run r where r.number = injection.run));
grant select on injection to qd_agent;
