-- Two chunks of a recompute are staged at once, and a new score costs less.
--
-- The scored posts are divided in the middle, and a job stages one chunk of each half at a time. Chunks of a job lock its
-- row against changes, not against each other. Only the first chunk and the cut-over need the job for themselves.
set lock_timeout = '10s';

drop function if exists public.own_recompute_job(uuid, uuid);
drop function if exists public.compute_final_scores(jsonb, uuid, integer, timestamptz);
drop function if exists public.stage_scores(uuid, jsonb, uuid, integer);
drop function if exists public.stage_post_scores(uuid, uuid, uuid, uuid, integer);

-- internal: The job, locked until the transaction ends. Raises an error unless this worker runs it. With `p_alone`, no
-- other call works on the job at the same time. Without it, others may stage chunks, but nobody changes the job.
create or replace function public.own_recompute_job(p_job_id uuid, p_worker uuid, p_alone boolean default true)
returns public.background_jobs
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_job background_jobs;
begin
  if p_alone then
    select * into v_job from background_jobs where id = p_job_id for update;
  else
    select * into v_job from background_jobs where id = p_job_id for share;
  end if;
  if v_job.status is distinct from 'running' or v_job.worker is distinct from p_worker then
    raise exception 'job % is not this worker''s: it is %', p_job_id,
      case when v_job.id is null then 'gone' when v_job.status = 'running' then 'another worker''s' else v_job.status end
      using errcode = '55000', hint = 'stop working on this job';
  end if;
  return v_job;
end
$$;

-- internal: Computes the final scores of the next `p_limit` scored posts after `p_after` and up to `p_until`, in the order
-- of their ids. Null is no bound. With `p_since` it computes only those of scores that were written since then.
--
-- The query is written for the weights of the basis: see weighted_share_sql. The settings keep the planner on the index,
-- because without statistics it would sort all scores.
create or replace function public.compute_final_scores(
  p_basis jsonb, p_after uuid, p_limit integer, p_since timestamptz, p_until uuid default null,
  out posts uuid[], out final_scores double precision[]
)
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_names text[];
  v_weights double precision[];
begin
  select u.names, u.weights into v_names, v_weights from unpack_weights(p_basis -> 'weights') u;
  execute format(
    $sql$
      select coalesce(array_agg(scored.post_id), '{}'),
        coalesce(array_agg(novel_score(%s, novelty.multiplier)), '{}')
      from (
        select post_id, categories, %s
        from llm_scores
        where %s
        order by post_id
        limit $2
        -- Without this, each score would be looked up twice: once to test it and once to use it.
        offset 0
      ) scored
        cross join lateral novelty_of(scored.categories, $3, $4, $5) novelty
    $sql$,
    weighted_share_sql(v_weights),
    (select string_agg(format('scores -> %L as d%s', name, place), ', ' order by place)
      from unnest(v_names) with ordinality as given (name, place)),
    case when p_since is null then '($1 is null or post_id > $1) and ($7 is null or post_id <= $7)'
      else 'updated_at >= $6' end
  )
    into posts, final_scores
    using p_after, p_limit, unpack_novelty(p_basis -> 'novelty'), p_basis -> 'frequencies',
      (p_basis -> 'total_scored')::integer, p_since, p_until;
end
$$;

-- internal: Inserts final scores if nothing is in the way. Returns whether it did. Nothing is in the way if all posts
-- exist, nobody is deleting one of them, and none has a score under these weights.
--
-- The checks of the foreign keys lock the posts. They wait in line, so that they could be part of a deadlock: see
-- lock_posts. But they give up after a hundredth of a second, and Postgres looks for deadlocks after a second.
create or replace function public.insert_post_scores(
  p_weight_config_id uuid, p_posts uuid[], p_final_scores double precision[]
)
returns boolean
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10ms'
as $$
declare
  v_prefix constant text := left(gen_random_uuid()::text, 24);
begin
  insert into post_scores (id, post_id, weight_config_id, final_score, computed_at)
    select (v_prefix || to_hex(x'100000000000'::bigint + given.place))::uuid, given.post_id, p_weight_config_id,
      given.final_score, clock_timestamp()
    from unnest(p_posts, p_final_scores) with ordinality as given (post_id, final_score, place);
  return true;
exception when foreign_key_violation or unique_violation or lock_not_available then
  return false;
end
$$;

-- internal: Stages the final scores of the next `p_limit` scored posts after `p_after` and up to `p_until`. Returns how
-- many they are, and the cursor of the next chunk: null if this one reaches `p_until`.
create or replace function public.stage_scores(
  p_job_id uuid, p_basis jsonb, p_after uuid, p_limit integer, p_until uuid, out staged integer, out next_after uuid
)
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_config constant uuid := p_basis ->> 'weight_config_id';
  v_direct constant boolean := p_basis -> 'direct';
  v_posts uuid[];
  v_scores double precision[];
begin
  if v_direct then
    perform check_direct_job(p_job_id, v_config);
  end if;
  select c.posts, c.final_scores into v_posts, v_scores
    from compute_final_scores(p_basis, p_after, p_limit, null, p_until) c;
  if v_direct and not insert_post_scores(v_config, v_posts, v_scores) then
    perform write_post_scores(v_config, v_posts, v_scores, 2);
  end if;
  staged := cardinality(v_posts);
  next_after := case when staged = p_limit then nullif(v_posts[p_limit], p_until) end;
  insert into post_score_chunks as ch (job_id, after, until, posts, post_ids, final_scores, computed_at)
    values (
      p_job_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'), coalesce(next_after, p_until), staged,
      case when v_direct then '{}' else v_posts end, case when v_direct then '{}' else v_scores end, clock_timestamp()
    )
  on conflict (job_id, after) do update
    set until = excluded.until, posts = excluded.posts, post_ids = excluded.post_ids,
      final_scores = excluded.final_scores, computed_at = excluded.computed_at;
end
$$;

-- internal: Whether the scores of the weight config in force can be replaced in a moment: there are not too many, and few
-- posts lack one. To insert a score takes ten times as long as to update one. Counting stops at the most that fit.
create or replace function public.fits_in_place(p_weight_config_id uuid)
returns boolean
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select scored.n <= most_posts_in_place()
    and scored.n - (select count(*) from post_scores where weight_config_id = p_weight_config_id) <= 10000
  from (select count(*) as n from (select from llm_scores limit most_posts_in_place() + 1) counted) scored
$$;

-- internal: The scored post in the middle, as the last ANALYZE saw it. Null if it saw too few.
create or replace function public.middle_scored_post()
returns uuid
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select bounds[(cardinality(bounds) + 1) / 2]
  from (
    select histogram_bounds::text::uuid[] as bounds from pg_stats
    where schemaname = 'public' and tablename = 'llm_scores' and attname = 'post_id'
  ) statistics
$$;

-- contract: `{"staged": n, "next_after": uuid | null, "total": n | null, "middle": uuid | null}`. Stages the final scores
-- of the next `p_limit` scored posts after `p_after` and up to `p_until`. The first chunk (`p_after` null) restarts the
-- job: it freezes the basis, deletes what an earlier attempt staged, estimates how many posts there are (`total`), and
-- names a post in their middle. After it, others may be staged at once, up to the middle and after it.
--
-- A chunk that is sent again replaces itself.
create or replace function public.stage_post_scores(
  p_job_id uuid, p_worker uuid, p_weight_config_id uuid, p_after uuid, p_limit integer, p_until uuid default null
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_job background_jobs := own_recompute_job(p_job_id, p_worker, p_after is null);
  v_chunk record;
begin
  if p_limit is null or p_limit < 1 then
    raise exception 'a chunk needs at least one post' using errcode = '22023', hint = 'give a positive p_limit';
  end if;
  if p_after is null then
    v_job.basis := begin_recompute(p_job_id, p_weight_config_id);
  else
    -- A chunk that is sent again waits for its first call.
    perform pg_advisory_xact_lock(hashtextextended(format('%s after %s', p_job_id, p_after), 0));
  end if;
  if v_job.basis ->> 'asked' is distinct from p_weight_config_id::text then
    raise exception 'job % was not begun with weight config %', p_job_id, p_weight_config_id
      using errcode = '22023', hint = 'begin with p_after null and the id of a row of weight_configs';
  end if;
  v_chunk := stage_scores(p_job_id, v_job.basis, p_after, p_limit, p_until);
  return jsonb_build_object(
    'staged', v_chunk.staged,
    'next_after', v_chunk.next_after,
    'total', case when p_after is null then estimate_rows('llm_scores') end,
    'middle', case when p_after is null then middle_scored_post() end
  );
end
$$;

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = any (array[
      'compute_final_scores', 'fits_in_place', 'insert_post_scores', 'middle_scored_post', 'own_recompute_job',
      'stage_post_scores', 'stage_scores'
    ])
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

reset lock_timeout;
