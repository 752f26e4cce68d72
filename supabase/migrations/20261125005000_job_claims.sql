-- Claims of jobs that can be repeated. A worker takes a new id for each claim. If the response is lost on its way, the
-- same call is sent again, and returns the job that the first one leased.

set lock_timeout = '10s';

-- contract: Enqueues a job and leases it to this worker in one step, so that no other worker can claim it in between.
-- Returns its id. It is never retried, because its caller sees how it ends. A second call by the same worker returns the
-- job of the first and changes nothing.
create or replace function public.begin_job(
  p_type text, p_params jsonb, p_worker uuid, p_lease_seconds integer, p_created_by text default null
)
returns uuid
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_id uuid;
begin
  -- The first call may still run.
  perform pg_advisory_xact_lock(hashtextextended(p_worker::text, 0));
  select id into v_id from background_jobs where worker = p_worker and type = p_type;
  if found then
    return v_id;
  end if;
  v_id := enqueue_job(p_type, p_params, 0, p_created_by);
  perform claim_job(p_worker, array[p_type], p_lease_seconds, v_id);
  return v_id;
end
$$;

-- contract: The leased job or null. It is `p_job_id`, or else the oldest due job of these types. A running job whose
-- lease lapsed is taken over, which counts as a retry. If it has no retry left, it ends as an error. If this worker holds
-- the lease of a running job already, it gets that one.
create or replace function public.claim_job(
  p_worker uuid, p_types text[], p_lease_seconds integer, p_job_id uuid default null
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_job background_jobs;
begin
  update background_jobs j set
    leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds),
    updated_at = clock_timestamp()
    where j.worker = p_worker and j.status = 'running' and j.type = any (p_types)
      and (p_job_id is null or j.id = p_job_id) and j.leased_until > clock_timestamp()
    returning * into v_job;
  if found then
    return to_jsonb(v_job) - 'basis';
  end if;
  loop
    select * into v_job from background_jobs j
      where j.type = any (p_types)
        and (p_job_id is null or j.id = p_job_id)
        and j.status in ('pending', 'running')
        and case j.status
          when 'pending' then coalesce(j.next_attempt_at <= clock_timestamp(), true)
          else job_held_until(j) <= clock_timestamp()
        end
      order by j.created_at, j.id
      limit 1
      for update skip locked;
    if not found then
      return null;
    end if;
    exit when v_job.status = 'pending' or coalesce(v_job.retry_count, 0) < coalesce(v_job.max_retries, 0);
    -- Each round ends one job, so the loop ends when no lapsed job is left.
    update background_jobs set
      status = 'error',
      error_message = 'the worker stopped before it was done, and no retry is left',
      completed_at = clock_timestamp(),
      updated_at = clock_timestamp(),
      leased_until = null
      where id = v_job.id;
    delete from post_score_chunks where job_id = v_job.id;
  end loop;
  update background_jobs j set
    status = 'running',
    worker = p_worker,
    leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds),
    started_at = coalesce(j.started_at, clock_timestamp()),
    updated_at = clock_timestamp(),
    next_attempt_at = null,
    retry_count = coalesce(j.retry_count, 0) + (v_job.status = 'running')::integer,
    last_retry_at = case when v_job.status = 'running' then clock_timestamp() else j.last_retry_at end
    where j.id = v_job.id
    returning * into v_job;
  return to_jsonb(v_job) - 'basis';
end
$$;
