-- Recompute: every post's final score under a weight config, staged in chunks and then cut over at once.
--
-- A chunk stays far below the statement timeout. All chunks compute on one basis (weights, frequencies), frozen by the
-- first of them, and readers see the old scores until the cut-over commits.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'apply_post_scores_from_staging'
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- The job, locked, where this worker runs it; else the reason is raised.
create or replace function public.own_recompute_job(p_job_id uuid, p_worker uuid)
returns public.background_jobs
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_job background_jobs;
begin
  select * into v_job from background_jobs where id = p_job_id for update;
  if v_job.status is distinct from 'running' or v_job.worker is distinct from p_worker then
    raise exception 'job % is not this worker''s: it is %', p_job_id,
      case when v_job.id is null then 'gone' when v_job.status = 'running' then 'another worker''s' else v_job.status end
      using errcode = '55000', hint = 'stop working on this job';
  end if;
  return v_job;
end
$$;

-- Computes and stages these posts on the job's basis.
create or replace function public.stage_posts(p_job public.background_jobs, p_weight_config_id uuid, p_posts uuid[])
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with staged as (
    insert into post_scores_staging as st
        (job_id, post_id, weight_config_id, final_score, computed_at, source_version)
      select p_job.id, c.post_id, p_weight_config_id, c.final_score, clock_timestamp(), c.version
      from final_scores(p_posts, p_job.basis) c
    on conflict (job_id, post_id) do update set
      weight_config_id = excluded.weight_config_id,
      final_score = excluded.final_score,
      computed_at = excluded.computed_at,
      source_version = excluded.source_version
    returning 1
  )
  select count(*)::integer from staged
$$;

-- Stages the next `p_limit` scored posts after `p_after`. The first chunk (`p_after` null) begins the job afresh: it
-- freezes the basis and drops what an earlier attempt staged.
create or replace function public.stage_post_scores(
  p_job_id uuid, p_worker uuid, p_weight_config_id uuid, p_after uuid, p_limit integer
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_job background_jobs := own_recompute_job(p_job_id, p_worker);
  v_posts uuid[];
  v_staged integer;
begin
  if p_limit is null or p_limit < 1 then
    raise exception 'a chunk needs at least one post' using errcode = '22023', hint = 'give a positive p_limit';
  end if;
  if p_after is null then
    delete from post_scores_staging where job_id = p_job_id;
    update background_jobs
      set basis = (select score_basis(c.weights) from weight_configs c where c.id = p_weight_config_id)
        || jsonb_build_object('weight_config_id', p_weight_config_id)
      where id = p_job_id
      returning * into v_job;
  end if;
  if v_job.basis ->> 'weight_config_id' is distinct from p_weight_config_id::text then
    raise exception 'job % was not begun with weight config %', p_job_id, p_weight_config_id
      using errcode = '22023', hint = 'begin with p_after null and the id of a row of weight_configs';
  end if;
  -- Also where no post is scored yet: weights that cannot weigh must not come into force.
  perform unpack_weights(v_job.basis -> 'weights');
  v_posts := array(
    select post_id from llm_scores where p_after is null or post_id > p_after order by post_id limit p_limit
  );
  v_staged := stage_posts(v_job, p_weight_config_id, v_posts);
  if cardinality(v_posts) < p_limit then
    update background_jobs set basis = basis || '{"all_staged": true}' where id = p_job_id;
    return jsonb_build_object('staged', v_staged, 'next_after', null);
  end if;
  return jsonb_build_object('staged', v_staged, 'next_after', v_posts[p_limit]);
end
$$;

-- Moves staged scores into post_scores. A score that was computed after the staged one is kept; a post that is scored
-- no more is left out.
create or replace function public.apply_staged(p_job_id uuid, p_weight_config_id uuid)
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with applied as (
    insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
      select st.post_id, p_weight_config_id, st.final_score, st.computed_at
      from post_scores_staging st
      where st.job_id = p_job_id and st.weight_config_id = p_weight_config_id
        and exists (select from llm_scores s where s.post_id = st.post_id)
    on conflict (post_id, weight_config_id) do update
      set final_score = excluded.final_score, computed_at = excluded.computed_at
      where ps.computed_at is null or ps.computed_at <= excluded.computed_at
    returning 1
  ), cleared as (
    delete from post_scores_staging where job_id = p_job_id
  )
  select count(*)::integer from applied
$$;

-- Makes a weight config the one in force, for readers of the settings and of the flag alike.
create or replace function public.activate_weight_config(p_weight_config_id uuid)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  update weight_configs set is_active = (id = p_weight_config_id)
    where is_active is distinct from (id = p_weight_config_id);
  insert into settings (key, value, updated_at)
    values ('active_weight_config_id', to_jsonb(p_weight_config_id::text), clock_timestamp())
  on conflict (key) do update set value = excluded.value, updated_at = excluded.updated_at;
$$;

-- The cut-over: verifies that the job is still this worker's and that its last chunk is staged, stages what was scored
-- since its chunk was, applies, activates where asked, and completes the job. All or nothing.
--
-- Writers of scores wait while it runs: one that stored a score between the last look and the commit would be missing
-- from the ranking. Readers do not wait. It may take longer than the API's timeout for one statement, so it brings its
-- own, which PostgREST sets before it calls.
create or replace function public.complete_recompute_job(p_job_id uuid, p_worker uuid, p_activate boolean)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set statement_timeout = '5min'
as $$
declare
  v_job background_jobs := own_recompute_job(p_job_id, p_worker);
  v_config uuid := v_job.basis ->> 'weight_config_id';
  v_applied integer;
begin
  if v_job.basis ->> 'all_staged' is null then
    raise exception 'job % has scored posts that are not staged', p_job_id
      using errcode = '55000', hint = 'call stage_post_scores until its next_after is null';
  end if;
  lock table llm_scores in share mode;
  perform stage_posts(v_job, v_config, array(
    select s.post_id
    from llm_scores s
      left join post_scores_staging st on st.job_id = p_job_id and st.post_id = s.post_id
    where st.post_id is null or st.source_version is distinct from coalesce(s.updated_at, s.created_at)
  ));
  v_applied := apply_staged(p_job_id, v_config);
  update weight_configs set has_scores = true where id = v_config;
  if coalesce(p_activate, false) or coalesce(v_job.activate_on_completion, false)
    or coalesce((v_job.params ->> 'activate_on_completion')::boolean, false)
  then
    perform activate_weight_config(v_config);
  end if;
  update background_jobs set basis = null, progress = v_applied, total = v_applied where id = p_job_id;
  perform finish_job(p_job_id, p_worker);
  return jsonb_build_object('applied', v_applied);
end
$$;

-- Kept for callers of the earlier implementation.
create function public.apply_post_scores_from_staging(p_job_id uuid, p_weight_config_id uuid)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  select apply_staged(p_job_id, p_weight_config_id)
$$;
