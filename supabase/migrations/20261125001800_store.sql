-- Stores what the provider returned: posts are locked first, and a late worker overwrites nothing newer.
--
-- Locks are taken in one order: posts, their leases, results. A post that was deleted in the meantime, or that stays
-- locked for two seconds, costs only its own result: the next pass finds it again.
--
-- A worker that lost its lease still stores a result that nobody else has stored, because it is paid for. It does not
-- overwrite a result that is current: another worker may have made it since.

-- internal: The posts that a worker stores results for. `mine` says whether it still has their lease; without a worker it
-- is true. It locks the posts against deletion and against a change of their text, and then their leases.
create or replace function public.lock_for_store(p_kind text, p_worker uuid, p_posts uuid[])
returns table (post_id uuid, mine boolean)
language plpgsql
set search_path = public, extensions, pg_temp
as $$
#variable_conflict use_column
declare
  v_posts constant uuid[] := lock_posts(p_posts, true, 2);
begin
  perform from work_items where kind = p_kind and post_id = any (v_posts) order by post_id for update;
  return query
    select given.id, p_worker is null or coalesce(w.worker = p_worker, false)
    from unnest(v_posts) as given (id)
      left join work_items w on w.kind = p_kind and w.post_id = given.id;
end
$$;

-- internal: Releases the worker's leases on posts that stayed locked, so that the next pass finds them. A lease that is
-- being deleted with its post is left alone.
create or replace function public.release_left_out(p_kind text, p_worker uuid, p_given uuid[], p_locked uuid[])
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  with held as materialized (
    select post_id, attempts from work_items
    where kind = p_kind and worker = p_worker and post_id = any (p_given) and post_id <> all (p_locked)
    order by post_id
    for update skip locked
  ), deleted as (
    delete from work_items w using held where held.attempts = 0 and w.kind = p_kind and w.post_id = held.post_id
  )
  update work_items w
    set worker = null, leased_until = null, updated_at = clock_timestamp()
    from held
    where held.attempts > 0 and w.kind = p_kind and w.post_id = held.post_id
$$;

-- contract: Upserts embeddings and finishes their leases. Returns how many it stored. `p_rows` is `[{"post_id",
-- "embedding": "[…]", "model", "dimensions", "text_hash"}]`. A worker that has lost its lease does not overwrite an
-- embedding that is current. `p_worker` null overwrites all.
create or replace function public.store_embeddings(p_worker uuid, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_given constant uuid[] := array(select distinct (r ->> 'post_id')::uuid from jsonb_array_elements(p_rows) as r);
  v_open uuid[];
  v_mine uuid[];
  v_stored uuid[];
begin
  select coalesce(array_agg(l.post_id), '{}'), coalesce(array_agg(l.post_id) filter (where l.mine), '{}')
    into v_open, v_mine
    from lock_for_store('embed', p_worker, v_given) l;
  with given as (
    select distinct on (r.post_id) r.*
    from rows from (
      jsonb_to_recordset(p_rows) as (post_id uuid, embedding vector, model text, dimensions integer, text_hash text)
    ) with ordinality as r
    where r.post_id = any (v_open)
    order by r.post_id, r.ordinality desc
  ), stored as (
    insert into post_embeddings as e (post_id, embedding, model, dimensions, text_hash)
      select post_id, embedding, model, coalesce(dimensions, vector_dims(embedding)), text_hash from given order by post_id
    on conflict (post_id) do update set
      embedding = excluded.embedding,
      model = excluded.model,
      dimensions = excluded.dimensions,
      text_hash = excluded.text_hash
      where e.stale or e.embedding is null or e.post_id = any (v_mine)
    returning e.post_id
  )
  select array_agg(post_id) into v_stored from stored;
  perform finish_work('embed', p_worker, v_open);
  perform release_left_out('embed', p_worker, v_given, v_open);
  return coalesce(cardinality(v_stored), 0);
end
$$;

-- contract: Upserts scores, writes their final scores under the active weights, and finishes their leases. Returns how
-- many it stored. `p_rows` is `[{"post_id", "scores": {}, "categories": [], "summary", "why_podcast_worthy",
-- "model_version", "prompt_version", "fingerprint", "text_hash"}]`. A worker that has lost its lease does not overwrite a
-- score that is current. `p_worker` null overwrites all.
create or replace function public.store_scores(p_worker uuid, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_given constant uuid[] := array(select distinct (r ->> 'post_id')::uuid from jsonb_array_elements(p_rows) as r);
  v_open uuid[];
  v_mine uuid[];
  v_stored uuid[];
begin
  select coalesce(array_agg(l.post_id), '{}'), coalesce(array_agg(l.post_id) filter (where l.mine), '{}')
    into v_open, v_mine
    from lock_for_store('score', p_worker, v_given) l;
  with given as (
    select distinct on (r.post_id) r.*
    from rows from (
      jsonb_to_recordset(p_rows) as (
        post_id uuid, scores jsonb, categories text[], summary text, why_podcast_worthy text,
        model_version text, prompt_version text, fingerprint text, text_hash text
      )
    ) with ordinality as r
    where r.post_id = any (v_open)
    order by r.post_id, r.ordinality desc
  ), stored as (
    insert into llm_scores as s (
        post_id, scores, categories, summary, why_podcast_worthy,
        model_version, prompt_version, fingerprint, text_hash, scored_at
      )
      select post_id, scores, coalesce(categories, '{}'), summary, why_podcast_worthy,
        model_version, prompt_version, fingerprint, text_hash, clock_timestamp()
      from given order by post_id
    on conflict (post_id) do update set
      scores = excluded.scores,
      categories = excluded.categories,
      summary = excluded.summary,
      why_podcast_worthy = excluded.why_podcast_worthy,
      model_version = excluded.model_version,
      prompt_version = excluded.prompt_version,
      fingerprint = excluded.fingerprint,
      text_hash = excluded.text_hash,
      scored_at = excluded.scored_at
      where s.stale or s.post_id = any (v_mine)
    returning s.post_id
  )
  select array_agg(post_id) into v_stored from stored;
  perform write_final_scores(v_stored);
  perform finish_work('score', p_worker, v_open);
  perform release_left_out('score', p_worker, v_given, v_open);
  return coalesce(cardinality(v_stored), 0);
end
$$;

-- internal: Writes the final scores of these posts under the active weights, if there are any. The posts must be locked.
--
-- The config is read by its own statement, after the scores are written. So this sees a cut-over that the transaction
-- waited for. The config is locked, so that it cannot be deleted before its scores are inserted.
create or replace function public.write_final_scores(p_posts uuid[])
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_config uuid;
  v_basis jsonb;
begin
  loop
    v_config := active_weight_config();
    if v_config is null then
      return;
    end if;
    select score_basis(c.weights) into v_basis from weight_configs c where c.id = v_config for key share;
    -- Not found if it was deleted a moment ago: other weights may be in force now.
    exit when found;
  end loop;
  with computed as materialized (
    select c.post_id, c.final_score from final_scores(p_posts, v_basis) c order by c.post_id
  ), kept as (
    update llm_scores s set final_score = computed.final_score from computed where s.post_id = computed.post_id
  )
  insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
    select post_id, v_config, final_score, clock_timestamp() from computed order by post_id
  on conflict (post_id, weight_config_id) do update
    set final_score = excluded.final_score, computed_at = excluded.computed_at;
end
$$;

-- internal: Merges one dimension into stored scores and keeps the other keys. Returns the posts. `p_rows` is
-- [{"post_id", "score"}], or "value" in place of "score". Raises an error if a score is not a number.
create or replace function public.merge_dimension(p_dimension text, p_rows jsonb)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_merged uuid[];
  v_locked uuid[];
begin
  if coalesce(p_dimension, '') = '' or exists (
    select from jsonb_array_elements(p_rows) as r
    where jsonb_typeof(coalesce(r -> 'score', r -> 'value')) is distinct from 'number'
  ) then
    raise exception 'a dimension and a number for each post are needed'
      using errcode = '22023', hint = 'give p_dimension and rows of {"post_id", "score"}';
  end if;
  v_locked := lock_posts(
    array(select distinct (r ->> 'post_id')::uuid from jsonb_array_elements(p_rows) as r), true, 2
  );
  with given as (
    select distinct on (r.post_id) r.post_id, coalesce(r.score, r.value) as score
    from rows from (
      jsonb_to_recordset(p_rows) as (post_id uuid, score jsonb, value jsonb)
    ) with ordinality as r (post_id, score, value, place)
    where r.post_id = any (v_locked)
    order by r.post_id, r.place desc
  ), locked as materialized (
    select s.post_id, given.score from llm_scores s join given on given.post_id = s.post_id
    order by s.post_id
    for update of s
  ), merged as (
    update llm_scores s
      set scores = s.scores || jsonb_build_object(p_dimension, locked.score)
      from locked where s.post_id = locked.post_id
      returning s.post_id
  )
  select array_agg(post_id) into v_merged from merged;
  return coalesce(v_merged, '{}');
end
$$;

-- contract: Merges one dimension into stored scores and finishes the leases of `backfill:DIMENSION`. Returns how many it
-- merged. `p_rows` is `[{"post_id", "score"}]`. A worker does not overwrite the score of a post that another worker has
-- leased by now.
create or replace function public.store_dimension(p_worker uuid, p_dimension text, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_kind constant text := 'backfill:' || p_dimension;
  v_given constant uuid[] := array(select distinct (r ->> 'post_id')::uuid from jsonb_array_elements(p_rows) as r);
  v_locked uuid[];
  v_mine uuid[];
  v_open uuid[];
  v_merged uuid[];
begin
  select coalesce(array_agg(l.post_id), '{}'), coalesce(array_agg(l.post_id) filter (where l.mine), '{}')
    into v_locked, v_mine
    from lock_for_store(v_kind, p_worker, v_given) l;
  v_open := array(
    select locked.id from unnest(v_locked) as locked (id)
    where locked.id = any (v_mine) or exists (
      select from llm_scores s
      where s.post_id = locked.id and jsonb_typeof(s.scores -> p_dimension) is distinct from 'number'
    )
  );
  v_merged := merge_dimension(p_dimension, (
    select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(p_rows) as r where (r ->> 'post_id')::uuid = any (v_open)
  ));
  perform finish_work(v_kind, p_worker, v_locked);
  perform release_left_out(v_kind, p_worker, v_given, v_locked);
  return cardinality(v_merged);
end
$$;

-- contract: `{"retrying": n, "dead": n, "dead_ids": [uuid]}`. Charges an attempt to each failed post. `p_failures` is
-- `[{"post_id", "error", "permanent"}]`. A post is due again after backoff · 2^(attempts − 1). It is dead if the
-- failure is permanent or was the last attempt. Errors are truncated to 1000 characters.
--
-- A failure counts even if its lease was swept in the meantime. It does not count if another worker leases the post by
-- now, or if the post is gone.
create or replace function public.fail_work(
  p_kind text, p_worker uuid, p_failures jsonb, p_max_attempts integer, p_backoff_seconds integer
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_given constant uuid[] := array(
    select distinct (f ->> 'post_id')::uuid from jsonb_array_elements(p_failures) as f
  );
  v_locked constant uuid[] := lock_posts(v_given, false, 2);
  v_result jsonb;
begin
  with failure as (
    select distinct on (f.post_id) f.post_id, left(f.error, 1000) as error, coalesce(f.permanent, false) as permanent
    from jsonb_to_recordset(p_failures) as f (post_id uuid, error text, permanent boolean)
    where f.post_id = any (v_locked)
    order by f.post_id
  ), failed as (
    insert into work_items as w (kind, post_id, attempts, next_attempt_at, last_error, dead)
      select p_kind, post_id, 1, clock_timestamp() + make_interval(secs => p_backoff_seconds), error,
        permanent or p_max_attempts <= 1
      from failure
      order by post_id
    on conflict (kind, post_id) do update set
      worker = null,
      leased_until = null,
      attempts = w.attempts + 1,
      -- The exponent is bounded so that no interval overflows.
      next_attempt_at =
        clock_timestamp() + make_interval(secs => p_backoff_seconds * 2.0 ^ least(w.attempts, 16)),
      last_error = excluded.last_error,
      dead = (select permanent from failure where failure.post_id = w.post_id) or w.attempts + 1 >= p_max_attempts,
      updated_at = clock_timestamp()
      where not w.dead
        and (w.worker = p_worker or w.leased_until is null or w.leased_until <= clock_timestamp())
    returning w.post_id, w.dead
  )
  select jsonb_build_object(
    'retrying', count(*) filter (where not dead),
    'dead', count(*) filter (where dead),
    'dead_ids', coalesce(jsonb_agg(post_id order by post_id) filter (where dead), '[]')
  )
    into v_result
    from failed;
  perform release_left_out(p_kind, p_worker, v_given, v_locked);
  return v_result;
end
$$;
