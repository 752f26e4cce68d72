-- `beat_job` is called `heartbeat_job` now, as the rest of the program calls it.

-- contract: The status of the job: `running`; `cancelled` tells the worker to stop; `completed` if the cut-over has ended
-- it; `lost` if it is no longer this worker's. Extends the lease and writes the progress of a running job. Null keeps the
-- progress and the total as they are.
create or replace function public.heartbeat_job(
  p_job_id uuid, p_worker uuid, p_lease_seconds integer, p_progress integer default null, p_total integer default null
)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update background_jobs set
    leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds),
    progress = coalesce(p_progress, progress),
    total = coalesce(p_total, total),
    updated_at = clock_timestamp()
    where id = p_job_id and status = 'running' and worker = p_worker;
  return case when found then 'running' else job_ending(p_job_id, p_worker) end;
end
$$;

-- contract: As `heartbeat_job`. Kept for one release.
create or replace function public.beat_job(
  p_job_id uuid, p_worker uuid, p_lease_seconds integer, p_progress integer default null, p_total integer default null
)
returns text
language sql
set search_path = public, extensions, pg_temp
as $$
  select heartbeat_job(p_job_id, p_worker, p_lease_seconds, p_progress, p_total)
$$;

revoke execute on function public.heartbeat_job(uuid, uuid, integer, integer, integer) from public, anon, authenticated;
grant execute on function public.heartbeat_job(uuid, uuid, integer, integer, integer) to service_role;
