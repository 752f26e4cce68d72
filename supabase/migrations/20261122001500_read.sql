-- What people and scripts read: the posts that are due, the ranking, the search, the state of the pipeline.
--
-- The search takes an argument of pgvector's type, which may be in either schema.
set search_path = public, extensions;

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace
      and proname in (
        'get_embedding_backlog_count', 'get_posts_missing_dimension', 'get_score_distribution', 'get_unscored_posts',
        'search_posts_by_embedding'
      )
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- contract: How many posts have a text that is not blank and no current embedding. Kept for callers of the earlier
-- implementation.
create function public.get_embedding_backlog_count()
returns integer
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select count(*)::integer
  from posts p
  where not exists (
      select from post_embeddings e where e.post_id = p.id and e.embedding is not null and not e.stale
    )
    and not is_blank(p.text)
$$;

-- contract: Posts without a score. Kept for callers of the earlier implementation.
create function public.get_unscored_posts(p_limit integer)
returns table (id uuid, text text)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select p.id, p.text::text
  from posts p
  where not exists (select from llm_scores s where s.post_id = p.id) and not is_blank(p.text)
  order by p.id
  limit greatest(p_limit, 0)
$$;

-- contract: Scored posts without a number for the dimension. Kept for callers of the earlier implementation.
create function public.get_posts_missing_dimension(p_dimension text, p_limit integer)
returns table (id uuid, text text)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select p.id, p.text::text
  from posts p
    join llm_scores s on s.post_id = p.id
  where jsonb_typeof(s.scores -> p_dimension) is distinct from 'number' and not is_blank(p.text)
  order by p.id
  limit greatest(p_limit, 0)
$$;

-- contract: `{"count", "min", "max", "avg", "buckets": [{"from", "to", "count"}]}`. The scores under the active
-- weights, with ten buckets. Kept for callers of the earlier implementation.
create function public.get_score_distribution()
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  with score as (
    select final_score, least(9, floor(final_score))::integer as bucket
    from post_scores where weight_config_id = active_weight_config()
  )
  select jsonb_build_object(
    'count', (select count(*) from score),
    'min', (select min(final_score) from score),
    'max', (select max(final_score) from score),
    'avg', (select avg(final_score) from score),
    'buckets', (
      select jsonb_agg(
        jsonb_build_object('from', b, 'to', b + 1, 'count', (select count(*) from score where bucket = b)) order by b
      ) from generate_series(0, 9) as b
    )
  )
$$;

-- contract: The posts nearest to a vector, by cosine similarity.
--
-- The index looks at `hnsw.ef_search` rows and returns no more than that. With 400, it finds all but a few in a
-- hundred of what an exact search finds. pgvector allows 1000. `enable_seqscan` is off, because without statistics the
-- planner takes the table for small and would read all of it.
create function public.search_posts_by_embedding(
  query_embedding vector(1536),
  similarity_threshold double precision default 0.5,
  result_limit integer default 10
)
returns table (
  id uuid, text text, similarity double precision, created_at timestamptz, neighborhood_id uuid, post_id_ext text,
  url text, author_name text, image_urls jsonb, reaction_count integer, posted_at timestamptz
)
language plpgsql stable
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  perform set_config('hnsw.ef_search', greatest(400, least(2 * result_limit, 1000))::text, true);
  return query
    select p.id, p.text::text, nearest.similarity, p.created_at, p.neighborhood_id, p.post_id_ext::text,
      p.url::text, p.author_name::text, p.image_urls, p.reaction_count, p.posted_at
    from (
      select e.post_id, 1 - (e.embedding <=> query_embedding) as similarity
      from post_embeddings e
      order by e.embedding <=> query_embedding
      limit greatest(result_limit, 0)
    ) nearest
      join posts p on p.id = nearest.post_id
    where nearest.similarity >= similarity_threshold
    order by nearest.similarity desc, p.id;
end
$$;

-- contract: The best posts under the active weights, or under `p_weights` as a preview that writes nothing. A
-- neighborhood is given by its slug or its name.
create or replace function public.rank_posts(
  p_limit integer default 20,
  p_neighborhood text default null,
  p_category text default null,
  p_min_score double precision default null,
  p_weights jsonb default null
)
returns table (
  id uuid, text text, neighborhood text, url text, final_score double precision, categories text[], summary text,
  posted_at timestamptz
)
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
#variable_conflict use_column
begin
  if p_weights is null then
    return query
      select p.id, p.text::text, n.name::text, p.url::text, ps.final_score, s.categories, s.summary::text, p.posted_at
      from post_scores ps
        join posts p on p.id = ps.post_id
        join neighborhoods n on n.id = p.neighborhood_id
        join llm_scores s on s.post_id = p.id
      where ps.weight_config_id = active_weight_config()
        and (p_min_score is null or ps.final_score >= p_min_score)
        and (p_neighborhood is null or p_neighborhood in (n.slug, n.name))
        and (p_category is null or p_category = any (s.categories))
      order by ps.final_score desc, p.id
      limit greatest(p_limit, 0);
  else
    return query
      select p.id, p.text::text, n.name::text, p.url::text, f.final_score, s.categories, s.summary::text, p.posted_at
      from score_basis(p_weights) as basis
        cross join unpack_weights(p_weights) as w
        cross join llm_scores s
        cross join lateral final_score_of(
          s.scores, s.categories, w.names, w.weights,
          unpack_novelty(basis -> 'novelty'), basis -> 'frequencies', (basis ->> 'total_scored')::integer
        ) f
        join posts p on p.id = s.post_id
        join neighborhoods n on n.id = p.neighborhood_id
      where (p_min_score is null or f.final_score >= p_min_score)
        and (p_neighborhood is null or p_neighborhood in (n.slug, n.name))
        and (p_category is null or p_category = any (s.categories))
      order by f.final_score desc, p.id
      limit greatest(p_limit, 0);
  end if;
end
$$;

-- contract: `{"posts", "embedded", "embeddings_stale", "scored", "scores_stale", "by_fingerprint": {fingerprint |
-- "none": n}, "embedding_dimensions": n | null, "leased", "failing", "dead", "work": {kind: {"leased", "failing",
-- "dead"}}, "jobs": {status: n}, "active_weights": {"id", "name", "weights"} | null}`. The state of the pipeline.
create or replace function public.pipeline_status()
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  with work as (
    select kind,
      count(*) filter (where leased_until > clock_timestamp()) as leased,
      count(*) filter (where attempts > 0 and not dead) as failing,
      count(*) filter (where dead) as dead
    from work_items group by kind
  )
  select jsonb_build_object(
    'posts', (select count(*) from posts),
    'embedded', (select count(*) from post_embeddings where embedding is not null),
    -- The size of the column, so that the program can refuse vectors of another size before they are paid for.
    'embedding_dimensions', (
      select nullif(atttypmod, -1) from pg_attribute
      where attrelid = 'public.post_embeddings'::regclass and attname = 'embedding'
    ),
    'embeddings_stale', (select count(*) from post_embeddings where stale),
    'scored', (select count(*) from llm_scores),
    'scores_stale', (select count(*) from llm_scores where stale),
    'by_fingerprint', (
      select coalesce(jsonb_object_agg(coalesce(fingerprint, 'none'), scored), '{}')
      from (select fingerprint, count(*) as scored from llm_scores group by fingerprint) f
    ),
    'leased', (select coalesce(sum(leased), 0) from work),
    'failing', (select coalesce(sum(failing), 0) from work),
    'dead', (select coalesce(sum(dead), 0) from work),
    'work', (
      select coalesce(
        jsonb_object_agg(kind, jsonb_build_object('leased', leased, 'failing', failing, 'dead', dead)), '{}'
      ) from work
    ),
    'jobs', (
      select coalesce(jsonb_object_agg(status, jobs), '{}')
      from (select status, count(*) as jobs from background_jobs group by status) j
    ),
    'active_weights', (
      select jsonb_build_object('id', id, 'name', name, 'weights', weights)
      from weight_configs where id = active_weight_config()
    )
  )
$$;

reset search_path;
