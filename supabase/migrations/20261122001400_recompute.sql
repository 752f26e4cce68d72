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

-- Stages the next `p_limit` scored posts after `p_after`. The first chunk (`p_after` null) begins the job afresh: it
-- freezes the basis and drops what an earlier attempt staged. A chunk that is sent again replaces itself.
create or replace function public.stage_post_scores(
  p_job_id uuid, p_worker uuid, p_weight_config_id uuid, p_after uuid, p_limit integer
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_job background_jobs := own_recompute_job(p_job_id, p_worker);
  v_posts uuid[];
begin
  if p_limit is null or p_limit < 1 then
    raise exception 'a chunk needs at least one post' using errcode = '22023', hint = 'give a positive p_limit';
  end if;
  if p_after is null then
    delete from post_score_chunks where job_id = p_job_id;
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
    select post_id from llm_scores
    where post_id >= coalesce(p_after, '00000000-0000-0000-0000-000000000000') and post_id is distinct from p_after
    order by post_id
    limit p_limit
  );
  insert into post_score_chunks as ch (job_id, after, post_ids, final_scores, versions, computed_at)
    select p_job_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'),
      array_agg(c.post_id), array_agg(c.final_score), array_agg(c.version), clock_timestamp()
    from final_scores(v_posts, v_job.basis) c
    having count(*) > 0
  on conflict (job_id, after) do update set
    post_ids = excluded.post_ids,
    final_scores = excluded.final_scores,
    versions = excluded.versions,
    computed_at = excluded.computed_at;
  if cardinality(v_posts) < p_limit then
    update background_jobs set basis = basis || '{"all_staged": true}' where id = p_job_id;
  end if;
  return jsonb_build_object(
    'staged', cardinality(v_posts),
    'next_after', case when cardinality(v_posts) = p_limit then v_posts[p_limit] end
  );
end
$$;

-- What a job has staged and what is still so: not a post that was deleted or scored again since its chunk was staged.
create or replace function public.staged_scores(p_job_id uuid)
returns table (post_id uuid, final_score double precision, computed_at timestamptz)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select staged.post_id, staged.final_score, ch.computed_at
  from post_score_chunks ch
    cross join lateral unnest(ch.post_ids, ch.final_scores, ch.versions) as staged (post_id, final_score, version)
    join llm_scores s
      on s.post_id = staged.post_id and coalesce(s.updated_at, s.created_at) is not distinct from staged.version
  where ch.job_id = p_job_id
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

-- The cut-over: verifies that the job is still this worker's and that its last chunk is staged, applies what is staged,
-- computes what was scored since its chunk was, activates where asked, and completes the job. All or nothing. A score that
-- something else computed after the staged one is kept.
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
  v_staged integer;
  v_scored integer;
begin
  if v_job.basis ->> 'all_staged' is null then
    raise exception 'job % has scored posts that are not staged', p_job_id
      using errcode = '55000', hint = 'call stage_post_scores until its next_after is null';
  end if;
  lock table llm_scores in share mode;
  with staged as materialized (
    select post_id, final_score, computed_at from staged_scores(p_job_id)
  ), applied as (
    -- The id is made from the key: a random one for each of 200,000 rows costs as much as a foreign key in WebAssembly.
    insert into post_scores as ps (id, post_id, weight_config_id, final_score, computed_at)
      select md5(post_id::text || v_config)::uuid, post_id, v_config, final_score, computed_at from staged
    on conflict (post_id, weight_config_id) do update
      set final_score = excluded.final_score, computed_at = excluded.computed_at
      where ps.computed_at is null or ps.computed_at <= excluded.computed_at
  )
  select count(*) into v_staged from staged;
  v_scored := (select count(*) from llm_scores);
  if v_staged < v_scored then
    insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
      select c.post_id, v_config, c.final_score, clock_timestamp()
      from final_scores(
        array(select post_id from llm_scores except all select post_id from staged_scores(p_job_id)), v_job.basis
      ) c
    on conflict (post_id, weight_config_id) do update
      set final_score = excluded.final_score, computed_at = excluded.computed_at;
  end if;
  delete from post_score_chunks where job_id = p_job_id;
  update weight_configs set has_scores = true where id = v_config;
  if coalesce(p_activate, false) or coalesce(v_job.activate_on_completion, false)
    or coalesce((v_job.params ->> 'activate_on_completion')::boolean, false)
  then
    perform activate_weight_config(v_config);
  end if;
  update background_jobs set basis = null, progress = v_scored, total = v_scored where id = p_job_id;
  perform finish_job(p_job_id, p_worker);
  return jsonb_build_object('applied', v_scored);
end
$$;

-- Kept for callers of the earlier implementation, which stage in post_scores_staging. It deletes no score of the config:
-- one that was computed after the staged one is kept.
create function public.apply_post_scores_from_staging(p_job_id uuid, p_weight_config_id uuid)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
    select post_id, p_weight_config_id, final_score, computed_at
    from post_scores_staging
    where job_id = p_job_id and weight_config_id = p_weight_config_id
    order by post_id
  on conflict (post_id, weight_config_id) do update
    set final_score = excluded.final_score, computed_at = excluded.computed_at
    where ps.computed_at is null or ps.computed_at <= excluded.computed_at;
  delete from post_scores_staging where job_id = p_job_id;
$$;
