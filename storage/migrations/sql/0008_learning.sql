-- What was learned from, so that it is learned once: pull requests, reverts; and when what comes round was last done.

create table learned_pull (
  project text collate "C" not null references project (id) on delete cascade on update cascade,
  number int not null,
  title text not null,
  task bigint,                               -- of ours, where its branch says so
  merge_commit text,
  merged_at timestamptz not null,
  learned_at timestamptz not null default clock_timestamp(),
  primary key (project, number)
);

create table seen_revert (
  project text collate "C" not null references project (id) on delete cascade on update cascade,
  commit text collate "C" not null,
  undoes text collate "C" not null,          -- the commit that it takes back
  task bigint,
  at timestamptz not null default clock_timestamp(),
  primary key (project, commit)
);

create table upkeep (
  name text collate "C" primary key,
  at timestamptz not null
);

grant select on learned_pull, seen_revert, upkeep to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert, update, delete on learned_pull, seen_revert, upkeep to qd_admin, qd_supervisor, qd_engine;
grant execute on function knowledge_credit(bigint, text) to qd_supervisor;
