-- The reviews of a task and of a run: its page looks for them, the inbox asks what a failure came of, and who goes takes them along.
create index review_task on review (task, number);
create index review_run on review (run);
