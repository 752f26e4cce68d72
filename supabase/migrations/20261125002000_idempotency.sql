-- Calls that can be repeated. Whoever enqueues a job may choose its id. If the response is lost on its way, the same call
-- is sent again, and returns the job of the first one instead of adding another.
--
-- The earlier signatures are dropped, because PostgREST cannot choose between two functions of one name (PGRST203).

drop function if exists public.enqueue_job(text, jsonb, integer, text);

-- contract: Enqueues a job and returns its id. With `p_job_id` the caller chooses the id, and a second call with the same
-- id returns it and changes nothing.
create or replace function public.enqueue_job(
  p_type text, p_params jsonb default null, p_max_retries integer default null, p_created_by text default null,
  p_job_id uuid default null
)
returns uuid
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_id uuid := coalesce(p_job_id, gen_random_uuid());
begin
  if p_job_id is not null and exists (select from background_jobs where id = p_job_id) then
    return p_job_id;
  end if;
  perform check_job(p_type, p_params);
  insert into background_jobs (id, type, status, params, max_retries, created_by, progress, activate_on_completion)
    values (
      v_id, p_type, 'pending', coalesce(p_params, '{}'), greatest(coalesce(p_max_retries, 3), 0), p_created_by, 0,
      coalesce((p_params ->> 'activate_on_completion')::boolean, false)
    )
    on conflict (id) do nothing;
  return v_id;
end
$$;

drop function if exists public.save_and_recompute(jsonb, text, boolean, text);

-- contract: `{"weight_config_id": uuid, "job_id": uuid}`. Saves new weights and enqueues the job that computes every
-- post's score under them. With `p_request_id` the job gets this id, and a second call with the same id returns the
-- result of the first and changes nothing.
create or replace function public.save_and_recompute(
  p_weights jsonb, p_name text default null, p_activate boolean default true, p_created_by text default null,
  p_request_id uuid default null
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_config uuid;
begin
  if p_request_id is not null then
    -- The first call may still run.
    perform pg_advisory_xact_lock(hashtextextended(p_request_id::text, 0));
    select (params ->> 'weight_config_id')::uuid into v_config from background_jobs where id = p_request_id;
    if found then
      return jsonb_build_object('weight_config_id', v_config, 'job_id', p_request_id);
    end if;
  end if;
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
      p_created_by,
      p_request_id
    )
  );
end
$$;

revoke execute on function public.enqueue_job(text, jsonb, integer, text, uuid) from public, anon, authenticated;
revoke execute on function public.save_and_recompute(jsonb, text, boolean, text, uuid) from public, anon, authenticated;
grant execute on function public.enqueue_job(text, jsonb, integer, text, uuid) to service_role;
grant execute on function public.save_and_recompute(jsonb, text, boolean, text, uuid) to service_role;
