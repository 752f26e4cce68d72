-- Recompute: the final score of every post under a weight config, staged in chunks and then cut over at once.
--
-- A chunk stays far below the statement timeout. All chunks use one basis (weights, frequencies), which the first
-- chunk freezes. Readers see the old scores until the cut-over commits.
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

-- internal: The job, locked, if this worker runs it. Raises an error if it does not.
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

-- internal: Computes the final scores of the scored posts after `p_after` and up to `p_until`, at most `p_limit` of
-- them. Null is no bound. Stores them as one chunk, in place of an earlier one that began at the same cursor. Returns
-- the posts in their order.
--
-- The query is written for the weights of the basis: see weighted_share_sql. The settings keep the planner on the
-- index, because without statistics it would sort all scores.
create or replace function public.stage_chunk(p_job_id uuid, p_basis jsonb, p_after uuid, p_until uuid, p_limit integer)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
declare
  v_names text[];
  v_weights double precision[];
  v_posts uuid[];
  v_scores double precision[];
begin
  select names, weights into v_names, v_weights from unpack_weights(p_basis -> 'weights');
  execute format(
    $sql$
      select coalesce(array_agg(scored.post_id), '{}'),
        coalesce(array_agg(novel_score(%s, novelty.multiplier)), '{}')
      from (
        select post_id, categories, %s
        from llm_scores
        where ($1 is null or post_id > $1) and ($2 is null or post_id <= $2)
        order by post_id
        limit $3
        -- Without this, each score would be looked up twice: once to test it and once to use it.
        offset 0
      ) scored
        cross join lateral novelty_of(scored.categories, $4, $5, $6) novelty
    $sql$,
    weighted_share_sql(v_weights),
    (select string_agg(format('scores -> %L as d%s', name, place), ', ' order by place)
      from unnest(v_names) with ordinality as given (name, place))
  )
    into v_posts, v_scores
    using p_after, p_until, p_limit,
      unpack_novelty(p_basis -> 'novelty'), p_basis -> 'frequencies', (p_basis -> 'total_scored')::integer;
  insert into post_score_chunks as ch (job_id, after, post_ids, final_scores, computed_at)
    values (
      p_job_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'), v_posts, v_scores, clock_timestamp()
    )
  on conflict (job_id, after) do update
    set post_ids = excluded.post_ids, final_scores = excluded.final_scores, computed_at = excluded.computed_at;
  return v_posts;
end
$$;

-- contract: `{"staged": n, "next_after": uuid | null, "total": n | null}`. Stages the final scores of the next
-- `p_limit` scored posts after `p_after`. The first chunk (`p_after` null) restarts the job: it freezes the basis,
-- deletes what an earlier attempt staged, and counts the posts (`total`).
--
-- A chunk that is sent again replaces itself. `since` in the basis is where later transactions begin: see
-- refresh_chunks.
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
  v_total integer;
begin
  if p_limit is null or p_limit < 1 then
    raise exception 'a chunk needs at least one post' using errcode = '22023', hint = 'give a positive p_limit';
  end if;
  if p_after is null then
    delete from post_score_chunks where job_id = p_job_id;
    v_total := (select count(*) from llm_scores);
    update background_jobs
      set basis = (select score_basis(c.weights) from weight_configs c where c.id = p_weight_config_id)
        || jsonb_build_object(
          'weight_config_id', p_weight_config_id,
          'since', pg_snapshot_xmin(pg_current_snapshot())::text
        )
      where id = p_job_id
      returning * into v_job;
  end if;
  if v_job.basis ->> 'weight_config_id' is distinct from p_weight_config_id::text then
    raise exception 'job % was not begun with weight config %', p_job_id, p_weight_config_id
      using errcode = '22023', hint = 'begin with p_after null and the id of a row of weight_configs';
  end if;
  v_posts := stage_chunk(p_job_id, v_job.basis, p_after, null, p_limit);
  if cardinality(v_posts) < p_limit then
    update background_jobs set basis = basis || '{"all_staged": true}' where id = p_job_id;
  end if;
  return jsonb_build_object(
    'staged', cardinality(v_posts),
    'next_after', case when cardinality(v_posts) = p_limit then v_posts[p_limit] end,
    'total', v_total
  );
end
$$;

-- internal: Computes the chunks again whose posts may have changed since they were staged. Returns how many posts are
-- staged. That is every scored post, if nobody writes scores in the meantime.
--
-- A row that was written by a transaction that ended before the job began is staged as it is. So a chunk has changed
-- if it has a row of a later transaction (`xmin`), or if a row is gone. One scan that looks at `xmin` takes a quarter
-- of the time of comparing each row with its staged score.
create or replace function public.refresh_chunks(p_job_id uuid, p_basis jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_afters constant uuid[] := array(select after from post_score_chunks where job_id = p_job_id order by after);
  v_since integer := age((p_basis ->> 'since')::xid8::xid);
  v_chunk record;
  v_staged integer := 0;
begin
  -- A restored database may count its transactions from the start again. Then every row counts as later.
  if v_since < 0 then
    v_since := 2147483647;
  end if;
  for v_chunk in
    with stored as (
      -- A post that a chunk begins after is the last post of the chunk before it.
      select greatest(width_bucket(post_id, v_afters) - (post_id = any (v_afters))::integer, 1) as place,
        count(*) as posts, bool_or(age(xmin) <= v_since) as touched
      from llm_scores group by place
    ), staged as (
      select after, cardinality(post_ids) as posts,
        lead(after) over (order by after) as until, row_number() over (order by after) as place
      from post_score_chunks where job_id = p_job_id
    )
    select nullif(staged.after, '00000000-0000-0000-0000-000000000000') as after, staged.until, staged.posts,
      coalesce(stored.touched, false) or staged.posts <> coalesce(stored.posts, 0) as changed
    from staged left join stored on stored.place = staged.place
  loop
    v_staged := v_staged + case
      when v_chunk.changed then cardinality(stage_chunk(p_job_id, p_basis, v_chunk.after, v_chunk.until, null))
      else v_chunk.posts
    end;
  end loop;
  return v_staged;
end
$$;

-- internal: Makes a weight config the active one, in the settings and in its flag.
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

-- internal: What a job has staged, chunk by chunk, with an id for each row.
--
-- Ids are in sequence within a chunk, because 200,000 random ids take as long to make as the rows take to write. There
-- is no `set search_path`, because the planner inlines only functions without one.
create or replace function public.staged_scores(p_job_id uuid)
returns table (id uuid, post_id uuid, final_score double precision, computed_at timestamptz)
language sql stable
as $$
  select (staged.prefix || to_hex(x'100000000000'::bigint + staged.place))::uuid,
    staged.post_id, staged.final_score, staged.computed_at
  from (
    select chunk.prefix, chunk.computed_at, unnest(chunk.post_ids) as post_id, unnest(chunk.final_scores) as final_score,
      generate_series(1, cardinality(chunk.post_ids)) as place
    from (
      select left(md5(ch.job_id::text || ch.after)::uuid::text, 24) as prefix, ch.computed_at, ch.post_ids, ch.final_scores
      from public.post_score_chunks ch
      where ch.job_id = p_job_id
      order by ch.after
    ) chunk
  ) staged
$$;

-- internal: Updates the scores under this weight config with the staged ones. A score that was computed after the
-- staged one is kept. Returns how many it changed.
create or replace function public.update_staged_scores(p_job_id uuid, p_weight_config_id uuid)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
-- Each row is needed once. A hash join does that best, whatever the planner guesses about the size of the arrays.
set enable_nestloop = off
set work_mem = '64MB'
as $$
declare
  v_updated integer;
begin
  update post_scores ps
    set final_score = staged.final_score, computed_at = staged.computed_at
    from staged_scores(p_job_id) staged
    where ps.post_id = staged.post_id and ps.weight_config_id = p_weight_config_id
      and (ps.computed_at is null or ps.computed_at <= staged.computed_at);
  get diagnostics v_updated = row_count;
  return v_updated;
end
$$;

-- internal: Inserts the staged scores of posts that have none under this weight config, in the order of their ids.
create or replace function public.insert_staged_scores(p_job_id uuid, p_weight_config_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set enable_nestloop = off
set work_mem = '64MB'
as $$
begin
  if exists (select from post_scores where weight_config_id = p_weight_config_id) then
    insert into post_scores (id, post_id, weight_config_id, final_score, computed_at)
      select id, post_id, p_weight_config_id, final_score, computed_at
      from staged_scores(p_job_id) staged
      where not exists (
        select from post_scores ps where ps.post_id = staged.post_id and ps.weight_config_id = p_weight_config_id
      )
      order by post_id;
  else
    insert into post_scores (id, post_id, weight_config_id, final_score, computed_at)
      select id, post_id, p_weight_config_id, final_score, computed_at from staged_scores(p_job_id);
  end if;
end
$$;

-- internal: Skips the row-by-row checks of foreign keys for the rest of the transaction, if the role is allowed to. If
-- the table has triggers from elsewhere, it does nothing, because those would be skipped too.
create or replace function public.skip_row_checks(p_table regclass)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  if not exists (select from pg_trigger where tgrelid = p_table and not tgisinternal) then
    perform set_config('session_replication_role', 'replica', true);
  end if;
exception when insufficient_privilege then
  null;
end
$$;

-- internal: Writes the staged scores of a job, after computing the changed chunks again. Returns how many posts have a
-- score then, which is every scored post.
--
-- Each new row of post_scores is checked against posts and weight_configs. For 200,000 rows these checks take longer
-- than the rest of a recompute. So if many rows are new, they are checked all at once. Every staged post is in
-- llm_scores, which refers to posts, and locks keep both and the weight config in place until the commit. Skipping the
-- row-by-row checks needs more rights than the caller has. That is why this one function runs with its owner's rights.
create or replace function public.apply_chunks(p_job_id uuid, p_basis jsonb)
returns integer
language plpgsql
security definer
set search_path = public, extensions, pg_temp
as $$
declare
  v_config uuid := p_basis ->> 'weight_config_id';
  v_role text := current_setting('session_replication_role');
  v_new integer;
  v_staged integer;
begin
  perform from weight_configs where id = v_config for key share;
  v_new := (select sum(cardinality(post_ids)) from post_score_chunks where job_id = p_job_id)
    - (select count(*) from post_scores where weight_config_id = v_config);
  -- Posts before scores, as everywhere. If few rows are new, their checks cost less than this lock.
  if v_new > 1000 then
    lock table posts in share mode;
  end if;
  lock table llm_scores in share mode;
  v_staged := refresh_chunks(p_job_id, p_basis);
  if update_staged_scores(p_job_id, v_config) < v_staged then
    if v_new > 1000 then
      perform skip_row_checks('post_scores');
    end if;
    perform insert_staged_scores(p_job_id, v_config);
    if current_setting('session_replication_role') <> v_role then
      perform set_config('session_replication_role', v_role, true);
    end if;
  end if;
  return v_staged;
end
$$;

-- contract: `{"applied": n}`. The cut-over: verifies that this worker runs the job and that every chunk is staged,
-- applies the scores, activates the weights if asked, and completes the job. All or nothing.
--
-- Writers of scores wait while it runs. Otherwise a score that was stored just before the commit would be missing from
-- the ranking. If many rows are new, writers of posts wait too. Readers do not wait. It may take longer than the API's
-- timeout for one statement, so it has its own. PostgREST sets that before the call.
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
  v_applied := apply_chunks(p_job_id, v_job.basis);
  delete from post_score_chunks where job_id = p_job_id;
  -- What a worker of the earlier implementation staged for the job before it died.
  delete from post_scores_staging where job_id = p_job_id;
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

-- contract: Applies the scores in `post_scores_staging`. A score that was computed after the staged one is kept. Kept
-- for callers of the earlier implementation.
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
