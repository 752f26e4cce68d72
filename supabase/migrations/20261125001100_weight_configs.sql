-- Which job writes scores under a weight config that is not in force. It is null if no job does.
set lock_timeout = '10s';

alter table public.weight_configs add column if not exists recompute_job uuid;

reset lock_timeout;
