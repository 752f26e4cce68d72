-- Background jobs. Workers claim them by lease: two workers never run one job, and a crash leaves no job running for
-- good.
--
-- Every change depends on the job's status. A cancelled job cannot be started, finished or failed. A worker that lost
-- its lease to another changes nothing.

-- internal: Raises an error if a job of this type cannot run with these parameters.
create or replace function public.check_job(p_type text, p_params jsonb)
returns void
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_config text := p_params ->> 'weight_config_id';
  v_weights jsonb;
begin
  if coalesce(p_type, '') = '' then
    raise exception 'a job needs a type' using errcode = '22023', hint = 'give p_type';
  elsif p_params is not null and jsonb_typeof(p_params) not in ('object', 'null') then
    raise exception 'the parameters of a job must be an object'
      using errcode = '22023', hint = 'give p_params as {"name": value}';
  elsif p_type = 'backfill_dimension' and coalesce(p_params ->> 'dimension', '') = '' then
    raise exception 'a backfill needs the name of its dimension'
      using errcode = '22023', hint = 'give p_params as {"dimension": "drama"}';
  elsif p_type = 'recompute_final_scores' then
    select weights into v_weights from weight_configs
      where id::text = coalesce(v_config, active_weight_config()::text);
    if not found then
      raise exception 'there is no weight config %', coalesce(v_config, 'in force')
        using errcode = '22023', hint = 'give the id of a row of weight_configs as weight_config_id';
    end if;
    perform unpack_weights(v_weights);
  end if;
end
$$;

-- contract: Enqueues a job and returns its id.
create or replace function public.enqueue_job(
  p_type text, p_params jsonb default null, p_max_retries integer default null, p_created_by text default null
)
returns uuid
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_id uuid;
begin
  perform check_job(p_type, p_params);
  insert into background_jobs (type, status, params, max_retries, created_by, progress, activate_on_completion)
    values (
      p_type, 'pending', coalesce(p_params, '{}'), greatest(coalesce(p_max_retries, 3), 0), p_created_by, 0,
      coalesce((p_params ->> 'activate_on_completion')::boolean, false)
    )
    returning id into v_id;
  return v_id;
end
$$;

-- contract: Enqueues a job and leases it to this worker in one step, so that no other worker can claim it in between.
-- Returns its id. It is never retried, because its caller sees how it ends.
create or replace function public.begin_job(
  p_type text, p_params jsonb, p_worker uuid, p_lease_seconds integer, p_created_by text default null
)
returns uuid
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_id uuid := enqueue_job(p_type, p_params, 0, p_created_by);
begin
  perform claim_job(p_worker, array[p_type], p_lease_seconds, v_id);
  return v_id;
end
$$;

-- contract: `{"weight_config_id": uuid, "job_id": uuid}`. Saves new weights and enqueues the job that computes every
-- post's score under them.
create or replace function public.save_and_recompute(
  p_weights jsonb, p_name text default null, p_activate boolean default true, p_created_by text default null
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_config uuid;
begin
  perform unpack_weights(p_weights);
  insert into weight_configs (weights, name, is_active, has_scores, created_by)
    values (p_weights, p_name, false, false, p_created_by)
    returning id into v_config;
  return jsonb_build_object(
    'weight_config_id', v_config,
    'job_id', enqueue_job(
      'recompute_final_scores',
      jsonb_build_object('weight_config_id', v_config, 'activate_on_completion', coalesce(p_activate, true)),
      null,
      p_created_by
    )
  );
end
$$;

-- internal: Until when a running job belongs to its worker. Workers of the earlier implementation have no lease. They
-- update `updated_at` as they go.
create or replace function public.job_held_until(p_job public.background_jobs)
returns timestamptz
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(
    p_job.leased_until,
    coalesce(p_job.updated_at, p_job.started_at, p_job.created_at) + interval '15 minutes',
    '-infinity'
  )
$$;

-- contract: The leased job or null. It is `p_job_id`, or else the oldest due job of these types. A running job whose
-- lease lapsed is taken over, which counts as a retry. If it has no retry left, it ends as an error.
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

-- internal: The status that a worker gets of a job that it no longer runs: `cancelled`, `completed` if this worker
-- completed it, or else `lost`.
create or replace function public.job_ending(p_job_id uuid, p_worker uuid)
returns text
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(
    (
      select status from background_jobs
      where id = p_job_id and (status = 'cancelled' or status = 'completed' and worker = p_worker)
    ),
    'lost'
  )
$$;

-- Redefined in 20261125000200_heartbeat_job.
create or replace function public.beat_job(
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

-- contract: Completes the worker's job. Returns the new status.
create or replace function public.finish_job(p_job_id uuid, p_worker uuid)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update background_jobs set
    status = 'completed',
    completed_at = clock_timestamp(),
    updated_at = clock_timestamp(),
    leased_until = null,
    error_message = null
    where id = p_job_id and status = 'running' and worker = p_worker;
  return case when found then 'completed' else job_ending(p_job_id, p_worker) end;
end
$$;

-- contract: Ends the worker's attempt and returns the new status. The job is `pending` again after a backoff of 5 s ·
-- 2^retries, at most ten minutes. It is `error` if the failure is permanent or no retry is left.
create or replace function public.fail_job(p_job_id uuid, p_worker uuid, p_error text, p_permanent boolean default false)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_status text;
begin
  update background_jobs j set
    status = next.status,
    error_message = left(p_error, 1000),
    retry_count = coalesce(j.retry_count, 0) + (next.status = 'pending')::integer,
    last_retry_at = case when next.status = 'pending' then clock_timestamp() else j.last_retry_at end,
    next_attempt_at = case when next.status = 'pending' then
      clock_timestamp() + make_interval(secs => least(600, 5 * 2.0 ^ least(coalesce(j.retry_count, 0), 16)))
    end,
    completed_at = case when next.status = 'error' then clock_timestamp() end,
    leased_until = null,
    updated_at = clock_timestamp()
    from (
      select id, case
        when not coalesce(p_permanent, false) and coalesce(retry_count, 0) < coalesce(max_retries, 0) then 'pending'
        else 'error'
      end as status
      from background_jobs where id = p_job_id and status = 'running' and worker = p_worker
      for update
    ) next
    where j.id = next.id
    returning j.status into v_status;
  if v_status = 'error' then
    delete from post_score_chunks where job_id = p_job_id;
  end if;
  return coalesce(v_status, job_ending(p_job_id, p_worker));
end
$$;

-- contract: Releases the job for another worker without charging a retry, and returns the new status. A worker that is
-- stopped does this.
create or replace function public.release_job(p_job_id uuid, p_worker uuid)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update background_jobs set
    status = 'pending', worker = null, leased_until = null, next_attempt_at = null, updated_at = clock_timestamp()
    where id = p_job_id and status = 'running' and worker = p_worker;
  return case when found then 'pending' else job_ending(p_job_id, p_worker) end;
end
$$;

-- contract: Cancels a job that has not ended. Returns its status, or null if there is no such job.
create or replace function public.cancel_job(p_job_id uuid, p_by text default null)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update background_jobs set
    status = 'cancelled',
    cancelled_at = clock_timestamp(),
    cancelled_by = p_by,
    updated_at = clock_timestamp(),
    leased_until = null
    where id = p_job_id and status in ('pending', 'running');
  if found then
    delete from post_score_chunks where job_id = p_job_id;
  end if;
  return (select status from background_jobs where id = p_job_id);
end
$$;

-- contract: Makes a failed or cancelled job pending again, with all its retries. Returns its status, or null if there
-- is no such job.
create or replace function public.retry_job(p_job_id uuid)
returns text
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update background_jobs set
    status = 'pending',
    retry_count = 0,
    progress = 0,
    error_message = null,
    worker = null,
    leased_until = null,
    next_attempt_at = null,
    started_at = null,
    completed_at = null,
    cancelled_at = null,
    cancelled_by = null,
    basis = null,
    updated_at = clock_timestamp()
    where id = p_job_id and status in ('error', 'cancelled');
  return (select status from background_jobs where id = p_job_id);
end
$$;
