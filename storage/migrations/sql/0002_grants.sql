-- Who may do what with money: people set rules and read the books, the gateway alone writes them.
grant select on service, circuit, budget, account, gateway, charge, run_notice, budget_wait, alert, secret to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant select on service, budget, account, charge to qd_agent;
grant select, insert, update, delete on run_token to qd_engine;
grant insert, update, delete on service, circuit, budget, account, gateway, charge, run_notice, budget_wait, alert, secret to qd_engine;
grant insert, update, delete on service, circuit, budget, secret to qd_supervisor, qd_admin;
grant insert, update on account, charge, alert, budget_wait to qd_supervisor, qd_admin;
grant delete on budget_wait, account, alert to qd_supervisor, qd_admin;
grant usage on all sequences in schema public to qd_admin, qd_supervisor, qd_engine;
