-- An agent may read again what it was told, and what other runs of its project were.
alter table run_context enable row level security;
create policy crew on run_context to qd_admin, qd_supervisor, qd_viewer, qd_engine using (true) with check (true);
grant select on run_context to qd_agent;
create policy own on run_context for select to qd_agent using (exists (select 1 from run r where r.number = run_context.run));
