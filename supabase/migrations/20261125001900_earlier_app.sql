-- What the app of the earlier implementation calls, in the shapes that it knows. Rule: columns and defaults are added,
-- never removed.
--
-- The search takes an argument of pgvector's type, which may be in either schema.
set search_path = public, extensions;

drop function if exists public.compute_final_score_runtime(jsonb, text[], jsonb, jsonb, jsonb, integer);
drop function if exists public.get_posts_without_embeddings(integer, uuid);
drop function if exists public.get_unscored_posts(integer);
drop function if exists public.get_posts_missing_dimension(text, integer);
drop function if exists public.search_posts_by_embedding(vector, double precision, integer);
drop function if exists public.get_score_distribution();

-- contract: The final score of one row. The earlier implementation has a function of this name and with these
-- arguments. Weights that add up to nothing give 0.
--
-- The app calls it for every row of its feed. So it computes in place and runs no query: the names of the weights come
-- from a JSON path.
create function public.compute_final_score_runtime(
  p_scores jsonb,
  p_categories text[],
  p_weights jsonb,
  p_novelty_config jsonb,
  p_frequencies jsonb,
  p_total_scored integer
)
returns double precision
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
  v_names jsonb := jsonb_path_query_array(p_weights, '$.keyvalue().key');
  v_name text;
  v_weight double precision;
  v_score jsonb;
  v_sum double precision := 0;
  v_weights double precision := 0;
  v_frequency double precision := 0;
  v_novelty double precision := 1;
  v_least double precision;
  v_most double precision;
  v_rare double precision;
  v_common double precision;
  v_very_common double precision;
begin
  for v_place in 0 .. coalesce(jsonb_array_length(v_names), 0) - 1 loop
    v_name := v_names ->> v_place;
    v_weight := p_weights -> v_name;
    v_score := p_scores -> v_name;
    v_weights := v_weights + v_weight;
    -- A dimension that is missing or is no number counts as 5.0.
    v_sum := v_sum + v_weight
      * case when jsonb_typeof(v_score) = 'number' then v_score::double precision else 5.0 end;
  end loop;
  if v_weights <= 0 then
    return 0;
  end if;
  -- A frequency says nothing if few posts are scored, or if a post has no categories.
  if cardinality(p_categories) > 0 and p_total_scored >= 30 and p_frequencies <> '{}' then
    foreach v_name in array p_categories loop
      v_frequency := v_frequency + coalesce((p_frequencies -> v_name)::double precision, 0);
    end loop;
    v_frequency := v_frequency / cardinality(p_categories);
    v_least := coalesce((p_novelty_config ->> 'min_multiplier')::double precision, 0.2);
    v_most := coalesce((p_novelty_config ->> 'max_multiplier')::double precision, 1.5);
    v_rare := coalesce((p_novelty_config #>> '{frequency_thresholds,rare}')::double precision, 5);
    v_common := coalesce((p_novelty_config #>> '{frequency_thresholds,common}')::double precision, 30);
    v_very_common := coalesce((p_novelty_config #>> '{frequency_thresholds,very_common}')::double precision, 100);
    v_novelty := case
      when v_frequency <= v_rare then v_most
      when v_frequency <= v_common then v_most + (1 - v_most) * (v_frequency - v_rare) / (v_common - v_rare)
      when v_frequency <= v_very_common then
        1 + (v_least - 1) * (v_frequency - v_common) / (v_very_common - v_common)
      else v_least
    end;
  end if;
  return greatest(0, least(10, v_sum / (10 * v_weights) * 10 * v_novelty));
end
$$;

-- Embeddings that are current, in the order of their posts: get_posts_without_embeddings passes over them by this index
-- alone.
create index if not exists post_embeddings_current_idx on public.post_embeddings (post_id)
  where embedding is not null and not stale;

-- internal: At most `p_limit` posts with a text that is not blank, after `p_after` in the order of their ids, that have no
-- row in the table `p_done` that is current. It reads the text of the posts that it finds and of no others.
--
-- If many are left, the settings make the planner merge two indexes, and it stops after the first few. If few are left,
-- all posts must be looked at, and reading both tables from end to end is the fastest way.
create or replace function public.posts_lacking(p_done regclass, p_current text, p_limit integer, p_after uuid)
returns table (id uuid, text text, comments jsonb)
language plpgsql stable
set search_path = public, extensions, pg_temp
set enable_seqscan = on
set enable_bitmapscan = on
set enable_hashjoin = on
set enable_nestloop = off
set enable_sort = on
set max_parallel_workers_per_gather = 2
as $$
begin
  if estimate_rows('posts') - estimate_rows(p_done) > 10 * p_limit then
    perform set_config(name, 'off', true)
      from unnest(array['enable_seqscan', 'enable_bitmapscan', 'enable_hashjoin', 'enable_sort']) as name;
    -- Several processes would read on behind the first few.
    perform set_config('max_parallel_workers_per_gather', '0', true);
  end if;
  return query execute format(
    $sql$
      select missing.id, p.text::text, coalesce(p.comments, '[]')
      from (
        select p.id from posts p
        where p.id >= coalesce($1, '00000000-0000-0000-0000-000000000000') and p.id is distinct from $1
          and not exists (select from %s done where done.post_id = p.id and %s)
        order by p.id
        offset 0
      ) missing
        cross join lateral (select p.text, p.comments from posts p where p.id = missing.id limit 1) p
      where not is_blank(p.text)
      order by missing.id
      limit greatest($2, 0)
    $sql$,
    p_done, p_current
  )
    using p_after, p_limit;
end
$$;

-- contract: At most `lim` posts with a text that is not blank and without a current embedding, after `after_id` in the
-- order of their ids. Call again with the last id until the result is empty.
create function public.get_posts_without_embeddings(lim integer default 500, after_id uuid default null)
returns table (id uuid, text text)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select p.id, p.text
  from posts_lacking('post_embeddings', 'done.embedding is not null and not done.stale', lim, after_id) p
$$;

-- contract: Posts without a score. Kept for callers of the earlier implementation.
create function public.get_unscored_posts(p_limit integer default 100)
returns table (id uuid, text text, comments jsonb)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select p.id, p.text, p.comments
  from posts_lacking('llm_scores', 'true', p_limit, null) p
$$;

-- contract: Scored posts without a number for the dimension. Kept for callers of the earlier implementation.
create function public.get_posts_missing_dimension(p_dimension text, p_limit integer default 100)
returns table (id uuid, text text, comments jsonb)
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select p.id, p.text::text, coalesce(p.comments, '[]')
  from llm_scores s
    join posts p on p.id = s.post_id
  where jsonb_typeof(s.scores -> p_dimension) is distinct from 'number' and not is_blank(p.text)
  order by s.post_id
  limit greatest(p_limit, 0)
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
  url text, author_name text, image_urls jsonb, reaction_count integer, posted_at timestamptz, user_id_hash text,
  hash text, used_on_episode boolean
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
      p.url::text, p.author_name::text, p.image_urls, p.reaction_count, p.posted_at, p.user_id_hash::text,
      p.hash::text, coalesce(p.used_on_episode, false)
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

-- internal: A statistic of values, given as distinct values in their order with the number of times each occurs:
-- {"min", "max", "mean", "p50", "p90"}, rounded to two places.
create or replace function public.summarize_values(p_values double precision[], p_counts bigint[])
returns jsonb
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  with given as (
    select value, occurrences, sum(occurrences) over (order by value) as up_to
    from unnest(p_values, p_counts) as given (value, occurrences)
  ), total as (
    select sum(occurrences) as n, sum(value * occurrences) / sum(occurrences) as mean from given
  ), percentile as (
    -- Linear between the two values next to the place, as percentile_cont does it.
    select share, low.value + (high.value - low.value) * (place - floor(place)) as value
    from total
      cross join (values (0.5::double precision), (0.9)) as wanted (share)
      cross join lateral (select share * (n::double precision - 1) as place) at
      cross join lateral (select min(value) as value from given where up_to > floor(place)) low
      cross join lateral (select min(value) as value from given where up_to > ceil(place)) high
  )
  select jsonb_build_object(
    'min', round((select min(value) from given)::numeric, 2),
    'max', round((select max(value) from given)::numeric, 2),
    'mean', round((select mean from total)::numeric, 2),
    'p50', round((select value from percentile where share = 0.5)::numeric, 2),
    'p90', round((select value from percentile where share = 0.9)::numeric, 2)
  )
$$;

-- internal: The most scores of which get_score_distribution looks at each one.
create or replace function public.most_scores_counted()
returns integer
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select 100000
$$;

-- contract: `{"dimensions": {dimension: {"min", "max", "mean", "p50", "p90"}}, "final_score": {…}, "sampled": n | null}`.
-- The stored scores of each dimension, and the final scores under the active weights. Kept for callers of the earlier
-- implementation. If there are very many posts, the dimensions are those of a sample, and `sampled` is its size.
--
-- Values are counted before they are read as numbers, because there are few different ones.
create function public.get_score_distribution()
returns jsonb
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_scored constant bigint := estimate_rows('llm_scores');
  v_sample constant text := case
    when v_scored > most_scores_counted() then
      format('tablesample system (%s) repeatable (1)', 100.0 * most_scores_counted() / v_scored)
  end;
  v_dimensions jsonb;
  v_final jsonb;
  v_counted bigint;
begin
  execute format(
    $sql$
      with given as (
        select d.key as dimension, d.value as given, count(*) as occurrences
        from llm_scores s %s cross join lateral jsonb_each(s.scores) d
        group by 1, 2
      ), value as (
        select dimension, (given #>> '{}')::double precision as value, sum(occurrences)::bigint as occurrences
        from given
        where case jsonb_typeof(given)
          when 'number' then true
          when 'string' then given #>> '{}' ~ '^[0-9]+\.?[0-9]*$'
          else false
        end
        group by 1, 2
      ), dimension as (
        select dimension,
          summarize_values(array_agg(value order by value), array_agg(occurrences order by value)) as summary
        from value group by dimension
      )
      select jsonb_object_agg(name, coalesce(d.summary, summarize_values('{}', '{}')))
      from (
        select dimension as name from dimension
        union
        select unnest(array[
          'absurdity', 'discussion_spark', 'drama', 'emotional_intensity', 'news_value', 'podcast_worthy', 'readability'
        ])
      ) known
        left join dimension d on d.dimension = known.name
    $sql$,
    v_sample
  ) into v_dimensions;
  if v_sample is not null then
    execute format('select count(*) from llm_scores %s', v_sample) into v_counted;
  end if;
  select case when count(*) = 0 then '{}' else jsonb_build_object(
      'min', round(min(final_score)::numeric, 2),
      'max', round(max(final_score)::numeric, 2),
      'mean', round(avg(final_score)::numeric, 2),
      'p50', round((percentile_cont(0.5) within group (order by final_score))::numeric, 2),
      'p90', round((percentile_cont(0.9) within group (order by final_score))::numeric, 2)
    ) end
    into v_final
    from post_scores where weight_config_id = active_weight_config();
  return jsonb_build_object('dimensions', v_dimensions, 'final_score', v_final, 'sampled', v_counted);
end
$$;

-- contract: `{"count", "min", "max", "avg", "buckets": [{"from", "to", "count"}]}`. The final scores under the active
-- weights, with ten buckets.
create or replace function public.final_score_distribution()
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  with bucket as (
    select least(9, floor(final_score))::integer as bucket, count(*) as scores, min(final_score) as least,
      max(final_score) as most, sum(final_score) as total
    from post_scores where weight_config_id = active_weight_config() group by 1
  )
  select jsonb_build_object(
    'count', coalesce(sum(scores), 0),
    'min', min(least),
    'max', max(most),
    'avg', sum(total) / sum(scores),
    'buckets', jsonb_agg(jsonb_build_object('from', place, 'to', place + 1, 'count', coalesce(scores, 0)) order by place)
  )
  from generate_series(0, 9) as place left join bucket on bucket.bucket = place
$$;

reset search_path;
