-- What there was no room for is written down with what a run was told.
alter table run_context add column left_out jsonb not null default '[]';
