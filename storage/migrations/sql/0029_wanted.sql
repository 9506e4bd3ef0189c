-- The model that search is to use, from the moment when somebody chooses it until all vectors are there.
alter table embedder add column wanted boolean not null default false;
create unique index embedder_wanted on embedder (wanted) where wanted;
