-- Who may do what, per database role. Nobody may change the audit trail; it is written by its trigger alone.
grant select on all tables in schema public to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert, update, delete on all tables in schema public to qd_admin, qd_engine;
grant insert, update, delete on project, load, lane, task, task_body, task_after, run_input, question, permission, review, agent_slot, run to qd_supervisor;
grant insert, update, delete on agent, engine to qd_supervisor;
revoke insert, update, delete, truncate on audit from qd_admin, qd_engine, qd_supervisor;
grant usage on all sequences in schema public to qd_admin, qd_supervisor, qd_engine;
