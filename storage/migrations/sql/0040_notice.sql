-- The client of a call was passed trouble of its provider's: the attempt that ends with it has not failed by its own fault. Its run goes on, though,
-- other than after a call that was refused.
alter table run_notice drop constraint run_notice_kind_check;
alter table run_notice add constraint run_notice_kind_check check (kind in ('fallback', 'budget', 'service', 'provider'));
