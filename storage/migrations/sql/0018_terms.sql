-- Some providers refuse the field by which a stream is asked for its usage.
alter table service add stream_options boolean not null default true;
drop trigger audit on service;
create trigger audit after insert or delete or update of provider, kind, base_url, fallback, models, model_map, prices, worst_price, stream_options, suspended, suspended_reason
  on service for each row execute function qd_audit('name', 'updated_at', 'exhausted_until');
