-- Recompute without tricks: no right of a superuser, no lock on posts, and a cut-over that takes a moment.
--
-- Nobody reads the scores of a weight config that is not in force. So a job for such a config writes its scores into
-- post_scores, chunk by chunk, with the ordinary checks. The cut-over has little left to do: it computes the scores that
-- changed since the job began, and flips the flag.
--
-- The scores of the config in force are read all the time. A job for it keeps its scores in post_score_chunks, and the
-- cut-over updates all of them in one statement. Readers see the old scores until it commits. That takes too long if
-- there are very many posts, or many without a score. Then the job writes under a second config with the same weights, which comes into force in
-- place of the first. The next job takes the first one again.
--
-- Locks are taken in one order: the job, the settings, the weight config, writers of scores, posts, scores.

set lock_timeout = '10s';

-- Where a chunk ends, null at the end of all scores, and how many posts it has. The arrays are empty if the scores of
-- the chunk are in post_scores already.
alter table public.post_score_chunks
  add column if not exists until uuid,
  add column if not exists posts integer;

-- internal: The weights as two arrays, in the order of their keys. Raises an error if they are not an object of numbers,
-- if one is negative, or if they add up to zero.
--
-- The order is that of jsonb, as in compute_final_score_runtime. A sum in another order differs in its last digit.
create or replace function public.unpack_weights(p_weights jsonb, out names text[], out weights double precision[])
language plpgsql immutable
set search_path = public, extensions, pg_temp
as $$
begin
  if p_weights is null or jsonb_typeof(p_weights) <> 'object' then
    raise exception 'weights must be an object of numbers'
      using errcode = '22023', hint = 'give a weight for each dimension, as in {"drama": 1.5}';
  end if;
  if exists (select from jsonb_each(p_weights) where jsonb_typeof(value) <> 'number') then
    raise exception 'every weight must be a number'
      using errcode = '22023', hint = 'write weights as JSON numbers, not as strings or null';
  end if;
  select array_agg(key order by place), array_agg(value::double precision order by place)
    into names, weights
    from jsonb_each(p_weights) with ordinality as w (key, value, place);
  if exists (select from unnest(weights) as weight where weight < 0) then
    raise exception 'no weight may be negative'
      using errcode = '22023', hint = 'use 0 to leave a dimension out';
  end if;
  if coalesce((select sum(weight) from unnest(weights) as weight), 0) <= 0 then
    raise exception 'the weights add up to nothing'
      using errcode = '22023', hint = 'give at least one dimension a weight above 0';
  end if;
end
$$;

-- internal: Computes the final scores of the next `p_limit` scored posts after `p_after`, in the order of their ids. With
-- `p_since` it computes only those of scores that were written since then.
--
-- The query is written for the weights of the basis: see weighted_share_sql. The settings keep the planner on the index,
-- because without statistics it would sort all scores.
create or replace function public.compute_final_scores(
  p_basis jsonb, p_after uuid, p_limit integer, p_since timestamptz, out posts uuid[], out final_scores double precision[]
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
    case when p_since is null then '($1 is null or post_id > $1)' else 'updated_at >= $6' end
  )
    into posts, final_scores
    using p_after, p_limit, unpack_novelty(p_basis -> 'novelty'), p_basis -> 'frequencies',
      (p_basis -> 'total_scored')::integer, p_since;
end
$$;

-- internal: Writes final scores under a weight config. Posts that are gone are left out. It raises an error if another
-- transaction keeps a post locked for `p_seconds`.
--
-- Each post is locked just before its score is inserted, because the check of the foreign key looks for it right after
-- that. An update beside the insert would need a plan. With the statistics of a moment ago, the planner takes the config
-- for empty and reads all its scores for each post. Ids are in sequence within a call, because random ones take as long
-- to make as the rows take to write.
create or replace function public.write_post_scores(
  p_weight_config_id uuid, p_posts uuid[], p_final_scores double precision[], p_seconds double precision
)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_prefix constant text := left(gen_random_uuid()::text, 24);
  v_now constant timestamptz := clock_timestamp();
  v_rows bigint;
begin
  for v_attempt in 1 .. 2 loop
    insert into post_scores as ps (id, post_id, weight_config_id, final_score, computed_at)
      select (v_prefix || to_hex(x'100000000000'::bigint + given.place))::uuid, given.post_id, p_weight_config_id,
        given.final_score, v_now
      from unnest(p_posts, p_final_scores) with ordinality as given (post_id, final_score, place)
        cross join lateral (select from posts p where p.id = given.post_id for key share skip locked) locked
    on conflict (post_id, weight_config_id) do update
      set final_score = excluded.final_score, computed_at = excluded.computed_at;
    get diagnostics v_rows = row_count;
    exit when v_rows = cardinality(p_posts);
    perform lock_all_posts(p_posts, p_seconds);
  end loop;
end
$$;

-- internal: The most posts whose scores one statement updates while writers of scores wait.
create or replace function public.most_posts_in_place()
returns integer
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select 200000
$$;

-- internal: Whether the scores of the weight config in force can be replaced in a moment: there are not too many, and few
-- posts lack one. To insert a score takes ten times as long as to update one.
create or replace function public.fits_in_place(p_weight_config_id uuid)
returns boolean
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select scored.n <= most_posts_in_place()
    and scored.n - (select count(*) from post_scores where weight_config_id = p_weight_config_id) <= 10000
  from (select count(*) as n from llm_scores) scored
$$;

-- internal: The weight config that takes the place of this one, with the same weights: the other one of the two, or a
-- new one.
create or replace function public.other_copy_of(p_config weight_configs)
returns weight_configs
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_first constant uuid := coalesce(p_config.copy_of, p_config.id);
  v_other weight_configs;
begin
  update weight_configs
    set weights = p_config.weights, name = p_config.name, description = p_config.description
    where id = (
      select id from weight_configs
      where (id = v_first or copy_of = v_first) and id <> p_config.id
      order by created_at, id limit 1
    )
    returning * into v_other;
  if not found then
    insert into weight_configs (weights, name, description, created_by, is_active, has_scores, copy_of)
      values (p_config.weights, p_config.name, p_config.description, p_config.created_by, false, false, v_first)
      returning * into v_other;
  end if;
  return v_other;
end
$$;

-- internal: Whether the weights of this config are in force under the id of its other copy.
create or replace function public.is_other_copy(p_weight_config_id uuid)
returns boolean
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select exists (
    select from weight_configs active, weight_configs other
    where active.id = active_weight_config() and other.id = p_weight_config_id and other.id <> active.id
      and coalesce(active.copy_of, active.id) = coalesce(other.copy_of, other.id)
  )
$$;

-- internal: Begins a recompute: freezes what it computes with, and deletes what an earlier attempt staged. Returns the
-- basis. Raises an error if there is no such weight config, or if another job is writing scores under it.
--
-- In the basis, `asked` is the weight config that the job is for, and `weight_config_id` the one that it writes under.
create or replace function public.begin_recompute(p_job_id uuid, p_weight_config_id uuid)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_asked weight_configs;
  v_target weight_configs;
  v_active uuid;
  v_direct boolean;
  v_since timestamptz;
  v_basis jsonb;
begin
  -- Activations change this row, so none happens until this transaction ends.
  perform from settings where key = 'active_weight_config_id' for share;
  select * into v_asked from weight_configs where id = p_weight_config_id for no key update;
  if not found then
    raise exception 'there is no weight config %', p_weight_config_id
      using errcode = '22023', hint = 'give the id of a row of weight_configs';
  end if;
  v_active := active_weight_config();
  v_target := v_asked;
  if v_asked.id = v_active and not fits_in_place(v_active) then
    v_target := other_copy_of(v_asked);
  end if;
  if v_target.recompute_job <> p_job_id and exists (
    select from background_jobs j
    where j.id = v_target.recompute_job and j.status = 'running' and job_held_until(j) > clock_timestamp()
  ) then
    raise exception 'job % is recomputing weight config % already', v_target.recompute_job, v_target.id
      using errcode = '55006', hint = 'wait for that job, or cancel it';
  end if;
  delete from post_score_chunks where job_id = p_job_id;
  v_direct := v_target.id is distinct from v_active;
  if v_direct then
    update weight_configs set recompute_job = p_job_id, has_scores = false where id = v_target.id;
  end if;
  v_since := moment_without_writers();
  v_basis := score_basis(v_asked.weights) || jsonb_build_object(
    'asked', v_asked.id,
    'weight_config_id', v_target.id,
    'direct', v_direct,
    'since', v_since
  );
  update background_jobs set basis = v_basis where id = p_job_id;
  return v_basis;
end
$$;

-- internal: Raises an error unless the weight config of a job is still there, out of force, and this job's to write.
create or replace function public.check_direct_job(p_job_id uuid, p_weight_config_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_job uuid;
begin
  perform from settings where key = 'active_weight_config_id' for share;
  select recompute_job into v_job from weight_configs where id = p_weight_config_id for key share;
  if not found then
    raise exception 'there is no weight config % any more', p_weight_config_id
      using errcode = '22023', hint = 'it was deleted while its scores were computed';
  elsif v_job is distinct from p_job_id or p_weight_config_id = active_weight_config() then
    raise exception 'weight config % changed hands while its scores were computed', p_weight_config_id
      using errcode = '55006', hint = 'start the recompute again';
  end if;
end
$$;

-- internal: Stages the final scores of the next `p_limit` scored posts after `p_after`. Returns the posts.
create or replace function public.stage_scores(p_job_id uuid, p_basis jsonb, p_after uuid, p_limit integer)
returns uuid[]
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
  select c.posts, c.final_scores into v_posts, v_scores from compute_final_scores(p_basis, p_after, p_limit, null) c;
  if v_direct then
    perform write_post_scores(v_config, v_posts, v_scores, 2);
  end if;
  insert into post_score_chunks as ch (job_id, after, until, posts, post_ids, final_scores, computed_at)
    values (
      p_job_id, coalesce(p_after, '00000000-0000-0000-0000-000000000000'),
      case when cardinality(v_posts) = p_limit then v_posts[p_limit] end, cardinality(v_posts),
      case when v_direct then '{}' else v_posts end, case when v_direct then '{}' else v_scores end, clock_timestamp()
    )
  on conflict (job_id, after) do update
    set until = excluded.until, posts = excluded.posts, post_ids = excluded.post_ids,
      final_scores = excluded.final_scores, computed_at = excluded.computed_at;
  return v_posts;
end
$$;

-- contract: `{"staged": n, "next_after": uuid | null, "total": n | null}`. Stages the final scores of the next
-- `p_limit` scored posts after `p_after`. The first chunk (`p_after` null) restarts the job: it freezes the basis,
-- deletes what an earlier attempt staged, and counts the posts (`total`).
--
-- A chunk that is sent again replaces itself.
create or replace function public.stage_post_scores(
  p_job_id uuid, p_worker uuid, p_weight_config_id uuid, p_after uuid, p_limit integer
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
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
    v_job.basis := begin_recompute(p_job_id, p_weight_config_id);
    v_total := (select count(*) from llm_scores);
  end if;
  if v_job.basis ->> 'asked' is distinct from p_weight_config_id::text then
    raise exception 'job % was not begun with weight config %', p_job_id, p_weight_config_id
      using errcode = '22023', hint = 'begin with p_after null and the id of a row of weight_configs';
  end if;
  v_posts := stage_scores(p_job_id, v_job.basis, p_after, p_limit);
  return jsonb_build_object(
    'staged', cardinality(v_posts),
    'next_after', case when cardinality(v_posts) = p_limit then v_posts[p_limit] end,
    'total', v_total
  );
end
$$;

-- internal: Whether the chunks of a job cover all scored posts, from the first to the last.
create or replace function public.all_chunks_staged(p_job_id uuid)
returns boolean
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(
    bool_and(until is not distinct from next_after)
      and min(after::text) = '00000000-0000-0000-0000-000000000000',
    false
  )
  from (
    select after, until, lead(after) over (order by after) as next_after from post_score_chunks where job_id = p_job_id
  ) chunk
$$;

-- internal: Computes the scores again that were written since the job began, and writes them under its weight config.
-- Writers of scores must be waiting. A post that another transaction has locked is not waited for, because that
-- transaction may wait for us.
create or replace function public.write_changed_scores(p_basis jsonb)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_posts uuid[];
  v_scores double precision[];
begin
  select c.posts, c.final_scores into v_posts, v_scores
    from compute_final_scores(p_basis, null, null, (p_basis ->> 'since')::timestamptz) c;
  perform write_post_scores((p_basis ->> 'weight_config_id')::uuid, v_posts, v_scores, 0);
end
$$;

-- internal: The staged scores of posts that have none under the weight config in force.
create or replace function public.lacking_scores(
  p_job_id uuid, p_weight_config_id uuid, out posts uuid[], out final_scores double precision[]
)
language sql stable
set search_path = public, extensions, pg_temp
set enable_nestloop = off
set work_mem = '64MB'
as $$
  select coalesce(array_agg(staged.post_id order by staged.post_id), '{}'),
    coalesce(array_agg(staged.final_score order by staged.post_id), '{}')
  from (
    select unnest(post_ids) as post_id, unnest(final_scores) as final_score
    from post_score_chunks where job_id = p_job_id
  ) staged
  where not exists (
    select from post_scores ps where ps.post_id = staged.post_id and ps.weight_config_id = p_weight_config_id
  )
$$;

-- internal: Updates the scores under the weight config in force with the staged ones. A score that was computed after the
-- staged one is kept.
create or replace function public.apply_staged_scores(p_job_id uuid, p_weight_config_id uuid)
returns void
language sql
set search_path = public, extensions, pg_temp
-- Each row is needed once. A hash join does that best, whatever the planner guesses about the size of the arrays.
set enable_nestloop = off
set work_mem = '64MB'
as $$
  update post_scores ps
    set final_score = staged.final_score, computed_at = staged.computed_at
    from (
      select unnest(post_ids) as post_id, unnest(final_scores) as final_score, computed_at
      from post_score_chunks where job_id = p_job_id
    ) staged
    where ps.post_id = staged.post_id and ps.weight_config_id = p_weight_config_id
      and ps.final_score is distinct from staged.final_score
      and (ps.computed_at is null or ps.computed_at <= staged.computed_at)
$$;

-- internal: Makes a weight config the active one, in the settings and in its flag. Raises an error if there is no such
-- config.
create or replace function public.activate_weight_config(p_weight_config_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  perform from weight_configs where id = p_weight_config_id for key share;
  if not found then
    raise exception 'there is no weight config %', p_weight_config_id
      using errcode = '22023', hint = 'give the id of a row of weight_configs';
  end if;
  insert into settings (key, value, updated_at)
    values ('active_weight_config_id', to_jsonb(p_weight_config_id::text), clock_timestamp())
  on conflict (key) do update set value = excluded.value, updated_at = excluded.updated_at;
  update weight_configs set is_active = (id = p_weight_config_id)
    where is_active is distinct from (id = p_weight_config_id);
end
$$;

-- contract: `{"applied": n}`. The cut-over: verifies that this worker runs the job and that every chunk is staged,
-- brings the scores up to date, activates the weights if asked, and completes the job. All or nothing.
--
-- Writers of scores wait for it, for well under a second. Readers never wait. PostgREST sets the statement timeout before the call.
create or replace function public.complete_recompute_job(p_job_id uuid, p_worker uuid, p_activate boolean)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set statement_timeout = '5min'
set lock_timeout = '2s'
as $$
declare
  v_job background_jobs := own_recompute_job(p_job_id, p_worker);
  v_config constant uuid := v_job.basis ->> 'weight_config_id';
  v_activate boolean := coalesce(p_activate, false) or coalesce(v_job.activate_on_completion, false)
    or coalesce((v_job.params ->> 'activate_on_completion')::boolean, false);
  v_posts uuid[];
  v_scores double precision[];
  v_applied integer;
begin
  if v_job.basis is null or not all_chunks_staged(p_job_id) then
    raise exception 'job % has scored posts that are not staged', p_job_id
      using errcode = '55000', hint = 'call stage_post_scores until its next_after is null';
  end if;
  -- Activations change this row, so the weights in force stay the same from here on.
  perform from settings where key = 'active_weight_config_id' for no key update;
  v_activate := v_activate or is_other_copy(v_config);
  if (v_job.basis -> 'direct')::boolean then
    perform check_direct_job(p_job_id, v_config);
    perform from weight_configs where id = v_config for no key update;
  else
    perform from weight_configs where id = v_config for key share;
    if not found then
      raise exception 'there is no weight config % any more', v_config
        using errcode = '22023', hint = 'it was deleted while its scores were computed';
    end if;
    -- Found before the lock, because it takes long. Whoever writes one of them now writes a changed score: see below.
    select l.posts, l.final_scores into v_posts, v_scores from lacking_scores(p_job_id, v_config) l;
  end if;
  lock table llm_scores in share mode;
  if not (v_job.basis -> 'direct')::boolean then
    perform apply_staged_scores(p_job_id, v_config);
    perform write_post_scores(v_config, v_posts, v_scores, 0);
  end if;
  perform write_changed_scores(v_job.basis);
  v_applied := (select count(*) from post_scores where weight_config_id = v_config);
  update weight_configs set has_scores = true, recompute_job = null where id = v_config;
  if v_activate then
    perform activate_weight_config(v_config);
  end if;
  delete from post_score_chunks where job_id = p_job_id;
  -- What a worker of the earlier implementation staged for the job before it died.
  delete from post_scores_staging where job_id = p_job_id;
  update background_jobs set basis = null, progress = v_applied, total = v_applied where id = p_job_id;
  perform finish_job(p_job_id, p_worker);
  return jsonb_build_object('applied', v_applied);
end
$$;

-- internal: Deletes what a job staged that will not go on: its chunks, and the scores that it wrote under a weight config
-- that is not in force. Of very many scores it leaves some, which nobody reads. The next job for these weights, or
-- prune_weight_scores, takes them.
create or replace function public.discard_recompute(p_job_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  delete from post_score_chunks where job_id = p_job_id;
  -- Locked before its scores, as by somebody who deletes it.
  perform from weight_configs where recompute_job = p_job_id for no key update;
  delete from post_scores where id in (
    select ps.id from post_scores ps join weight_configs c on c.id = ps.weight_config_id
    where c.recompute_job = p_job_id and c.id is distinct from active_weight_config()
    limit most_posts_in_place()
    for update of ps skip locked
  );
  update weight_configs set recompute_job = null where recompute_job = p_job_id;
end
$$;

-- internal: Trigger on jobs: a job that ends without being completed leaves nothing half done.
create or replace function public.discard_ended_recompute()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  perform discard_recompute(coalesce(new.id, old.id));
  return null;
end
$$;

create or replace trigger background_jobs_ended
  after update of status on public.background_jobs
  for each row when (old.status is distinct from new.status and new.status in ('error', 'cancelled'))
  execute function public.discard_ended_recompute();

create or replace trigger background_jobs_deleted
  after delete on public.background_jobs
  for each row execute function public.discard_ended_recompute();

-- contract: Applies the scores in `post_scores_staging`. A score that was computed after the staged one is kept. Kept
-- for callers of the earlier implementation.
--
-- The posts are locked first. A post that is being deleted costs only its own score.
create or replace function public.apply_post_scores_from_staging(p_job_id uuid, p_weight_config_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_posts uuid[] := array(
    select post_id from post_scores_staging where job_id = p_job_id and weight_config_id = p_weight_config_id
  );
begin
  perform from weight_configs where id = p_weight_config_id for key share;
  if not found then
    raise exception 'there is no weight config %', p_weight_config_id
      using errcode = '22023', hint = 'give the id of a row of weight_configs';
  end if;
  v_posts := lock_all_posts(v_posts, 5);
  insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
    select staged.post_id, p_weight_config_id, staged.final_score, staged.computed_at
    from post_scores_staging staged join unnest(v_posts) as locked (id) on locked.id = staged.post_id
    where staged.job_id = p_job_id and staged.weight_config_id = p_weight_config_id
    order by staged.post_id
  on conflict (post_id, weight_config_id) do update
    set final_score = excluded.final_score, computed_at = excluded.computed_at
    where ps.computed_at is null or ps.computed_at <= excluded.computed_at;
  delete from post_scores_staging where job_id = p_job_id;
end
$$;

drop function if exists public.apply_chunks(uuid, jsonb);
drop function if exists public.skip_row_checks(regclass);
drop function if exists public.refresh_chunks(uuid, jsonb);
drop function if exists public.stage_chunk(uuid, jsonb, uuid, uuid, integer);
drop function if exists public.insert_staged_scores(uuid, uuid);
drop function if exists public.update_staged_scores(uuid, uuid);
drop function if exists public.staged_scores(uuid);

reset lock_timeout;
