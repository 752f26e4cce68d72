-- Stores what the provider returned and ends the leases on it, in one transaction.
--
-- Rows are written in the order of their posts, as everywhere. A post that was deleted in the meantime is left out,
-- and the others are stored. If two rows are for one post, the last one counts. A worker whose lease lapsed still
-- stores its result: it is paid for, and an upsert does no harm.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'merge_dimension_into_llm_scores'
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- contract: Upserts embeddings and finishes their leases. Returns how many. `p_rows` is `[{"post_id", "embedding":
-- "[…]", "model", "dimensions", "text_hash"}]`.
create or replace function public.store_embeddings(p_worker uuid, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_stored uuid[];
begin
  with given as (
    select distinct on (r.post_id) r.*
    from rows from (
      jsonb_to_recordset(p_rows) as (post_id uuid, embedding vector, model text, dimensions integer, text_hash text)
    ) with ordinality as r
    where exists (select from posts p where p.id = r.post_id)
    order by r.post_id, r.ordinality desc
  ), stored as (
    insert into post_embeddings as e (post_id, embedding, model, dimensions, text_hash)
      select post_id, embedding, model, coalesce(dimensions, vector_dims(embedding)), text_hash from given order by post_id
    on conflict (post_id) do update set
      embedding = excluded.embedding,
      model = excluded.model,
      dimensions = excluded.dimensions,
      text_hash = excluded.text_hash
    returning e.post_id
  )
  select array_agg(post_id) into v_stored from stored;
  perform finish_work('embed', p_worker, v_stored);
  return coalesce(cardinality(v_stored), 0);
end
$$;

-- contract: Upserts scores, writes their final scores under the active weights, and finishes their leases. Returns how
-- many. `p_rows` is `[{"post_id", "scores": {}, "categories": [], "summary", "why_podcast_worthy", "model_version",
-- "prompt_version", "fingerprint", "text_hash"}]`.
create or replace function public.store_scores(p_worker uuid, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_stored uuid[];
begin
  with given as (
    select distinct on (r.post_id) r.*
    from rows from (
      jsonb_to_recordset(p_rows) as (
        post_id uuid, scores jsonb, categories text[], summary text, why_podcast_worthy text,
        model_version text, prompt_version text, fingerprint text, text_hash text
      )
    ) with ordinality as r
    where exists (select from posts p where p.id = r.post_id)
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
    returning s.post_id
  )
  select array_agg(post_id) into v_stored from stored;
  perform write_final_scores(v_stored);
  perform finish_work('score', p_worker, v_stored);
  return coalesce(cardinality(v_stored), 0);
end
$$;

-- internal: Writes the final scores of these posts under the active weights, if there are any.
--
-- The config is read by its own statement, after the scores are written. So this sees a cut-over that the transaction
-- waited for.
create or replace function public.write_final_scores(p_posts uuid[])
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_config uuid := active_weight_config();
  v_basis jsonb := (select score_basis(c.weights) from weight_configs c where c.id = v_config);
begin
  if v_config is null then
    return;
  end if;
  with computed as materialized (
    select c.post_id, c.final_score from final_scores(p_posts, v_basis) c
  ), kept as (
    update llm_scores s set final_score = computed.final_score from computed where s.post_id = computed.post_id
  )
  insert into post_scores as ps (post_id, weight_config_id, final_score, computed_at)
    select post_id, v_config, final_score, clock_timestamp() from computed order by post_id
  on conflict (post_id, weight_config_id) do update
    set final_score = excluded.final_score, computed_at = excluded.computed_at;
end
$$;

-- internal: The final scores of these posts on this basis. The basis is unpacked once, before the query.
create or replace function public.final_scores(p_posts uuid[], p_basis jsonb)
returns table (post_id uuid, final_score double precision)
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
#variable_conflict use_column
declare
  v_names text[];
  v_weights double precision[];
  v_novelty double precision[] := unpack_novelty(p_basis -> 'novelty');
  v_frequencies jsonb := p_basis -> 'frequencies';
  v_total integer := p_basis -> 'total_scored';
begin
  select names, weights into v_names, v_weights from unpack_weights(p_basis -> 'weights');
  return query
    select s.post_id, f.final_score
    from llm_scores s
      cross join lateral final_score_of(
        s.scores, s.categories, v_names, v_weights, v_novelty, v_frequencies, v_total
      ) f
    where s.post_id = any (p_posts);
end
$$;

-- internal: Merges one dimension into stored scores and keeps the other keys. Returns the posts. `p_rows` is
-- [{"post_id", "score"}]. Raises an error if a score is not a number.
create or replace function public.merge_dimension(p_dimension text, p_rows jsonb)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_merged uuid[];
begin
  if coalesce(p_dimension, '') = '' or exists (
    select from jsonb_array_elements(p_rows) as r where jsonb_typeof(r -> 'score') is distinct from 'number'
  ) then
    raise exception 'a dimension and a number for each post are needed'
      using errcode = '22023', hint = 'give p_dimension and rows of {"post_id", "score"}';
  end if;
  with given as (
    select distinct on (r.post_id) r.post_id, r.score
    from rows from (
      jsonb_to_recordset(p_rows) as (post_id uuid, score jsonb)
    ) with ordinality as r (post_id, score, place)
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

-- contract: Merges one dimension into stored scores and finishes the leases of `backfill:DIMENSION`. Returns how many.
-- `p_rows` is `[{"post_id", "score"}]`.
create or replace function public.store_dimension(p_worker uuid, p_dimension text, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_merged uuid[] := merge_dimension(p_dimension, p_rows);
begin
  perform finish_work('backfill:' || p_dimension, p_worker, v_merged);
  return cardinality(v_merged);
end
$$;

-- contract: Merges one dimension into stored scores. `p_updates` is `[{"post_id", "score"}]`. Kept for callers of the
-- earlier implementation.
create function public.merge_dimension_into_llm_scores(p_dimension text, p_updates jsonb)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  select merge_dimension(p_dimension, p_updates)
$$;
