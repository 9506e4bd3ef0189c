-- Who may do what with knowledge. Counters, postings and credits are written by functions and triggers that run as their owner.
grant select on corpus, memory, pattern, decision, lesson, sighting, run_context, injection, indexed_file, posting, frequent_term, embedder, embedding, query_vector,
  agent_performance, valuable_patterns, common_errors to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert, update, delete on corpus, memory, pattern, decision, lesson, sighting, run_context, injection, indexed_file, embedder, embedding
  to qd_admin, qd_supervisor, qd_engine;
grant insert, update, delete on query_vector to qd_admin, qd_supervisor, qd_viewer, qd_engine;
grant insert on corpus to qd_viewer;
grant usage on all sequences in schema public to qd_admin, qd_supervisor, qd_engine;
revoke execute on function knowledge_credit(bigint, text) from public;
grant execute on function knowledge_credit(bigint, text) to qd_engine, qd_admin;
