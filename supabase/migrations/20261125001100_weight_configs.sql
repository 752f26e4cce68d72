-- `recompute_job`: which job writes scores under a weight config that is not in force. It is null if no job does.
--
-- `copy_of`: the weight config that this one is a copy of. One of the two is in force, and a job writes new scores
-- under the other one.
set lock_timeout = '10s';

alter table public.weight_configs
  add column if not exists recompute_job uuid,
  add column if not exists copy_of uuid;

reset lock_timeout;
