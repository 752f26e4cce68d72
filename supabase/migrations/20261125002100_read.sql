-- What people look at, fast also with a million posts.

-- internal: The `p_limit` best posts under the active weights, or under `p_weights`, in their order. It reads no post, and
-- no score but for the category.
create or replace function public.rank_ids(
  p_limit integer, p_neighborhood text, p_category text, p_min_score double precision, p_weights jsonb, p_scored boolean,
  out posts uuid[], out final_scores double precision[]
)
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_basis jsonb := case when p_weights is not null then score_basis(p_weights) end;
  v_neighborhoods uuid[];
  v_names text[];
  v_weights double precision[];
  v_ranked text;
begin
  if p_weights is null then
    -- Categories are looked up only if they are asked for.
    v_ranked := format(
      'select ps.post_id, ps.final_score, %s as categories from post_scores ps %s
       where ps.weight_config_id = active_weight_config()',
      case when p_category is null then 'null::text[]' else 's.categories' end,
      case when p_category is not null or p_scored then 'join llm_scores s on s.post_id = ps.post_id' end
    );
  else
    select u.names, u.weights into v_names, v_weights from unpack_weights(p_weights) u;
    v_ranked := format(
      'select scored.post_id, novel_score(%s, novelty.multiplier) as final_score, scored.categories
       from (select s.post_id, s.categories, %s from llm_scores s offset 0) scored
         cross join lateral novelty_of(scored.categories, $1, $2, $3) novelty',
      weighted_share_sql(v_weights),
      (select string_agg(format('s.scores -> %L as d%s', name, place), ', ' order by place)
        from unnest(v_names) with ordinality as given (name, place))
    );
  end if;
  if p_neighborhood is not null then
    v_neighborhoods := array(select id from neighborhoods where p_neighborhood in (slug, name));
  end if;
  execute format(
    'select coalesce(array_agg(post_id order by final_score desc, post_id), ''{}''),
       coalesce(array_agg(final_score order by final_score desc, post_id), ''{}'')
     from (
       select ranked.post_id, ranked.final_score from (%s) ranked %s
       where ($4 is null or ranked.final_score >= $4) and ($5 is null or $5 = any (ranked.categories))
       order by ranked.final_score desc, ranked.post_id
       limit $7
     ) best',
    v_ranked,
    case when p_neighborhood is not null then
      'join posts p on p.id = ranked.post_id and p.neighborhood_id = any ($6)'
    end
  )
    into posts, final_scores
    using unpack_novelty(v_basis -> 'novelty'), v_basis -> 'frequencies', (v_basis -> 'total_scored')::integer,
      p_min_score, p_category, v_neighborhoods, greatest(p_limit, 0);
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
declare
  v_posts uuid[];
  v_scores double precision[];
begin
  select r.posts, r.final_scores into v_posts, v_scores
    from rank_ids(p_limit, p_neighborhood, p_category, p_min_score, p_weights, false) r;
  -- Somebody deleted a score and left its final scores: such a post is not ranked. Looking for it each time would take
  -- longer than the ranking.
  if exists (
    select from unnest(v_posts) as best (id)
    where not exists (select from llm_scores s where s.post_id = best.id)
  ) then
    select r.posts, r.final_scores into v_posts, v_scores
      from rank_ids(p_limit, p_neighborhood, p_category, p_min_score, p_weights, true) r;
  end if;
  return query
    select p.id, p.text::text, n.name::text, p.url::text, best.final_score, s.categories, s.summary::text, p.posted_at
    from unnest(v_posts, v_scores) with ordinality as best (id, final_score, place)
      join posts p on p.id = best.id
      join neighborhoods n on n.id = p.neighborhood_id
      join llm_scores s on s.post_id = best.id
    order by best.place;
end
$$;

-- contract: The size of the vectors that the database stores, or null if it stores any size.
create or replace function public.embedding_dimensions()
returns integer
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select nullif(atttypmod, -1) from pg_attribute
  where attrelid = 'public.post_embeddings'::regclass and attname = 'embedding'
$$;

-- internal: How many rows a table has: exactly if it is small, else as the last ANALYZE saw it. Null if that is unknown.
create or replace function public.estimate_rows(p_table regclass)
returns bigint
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_rows bigint;
begin
  if pg_relation_size(p_table) <= 32 * 1024 * 1024 then
    execute format('select count(*) from %s', p_table) into v_rows;
  else
    select nullif(reltuples, -1)::bigint into v_rows from pg_class where oid = p_table;
  end if;
  return v_rows;
end
$$;

-- internal: How many rows of a table have each value of a column: {value: n}. Exactly if the table is small, else from
-- the most common values that the last ANALYZE saw.
create or replace function public.estimate_values(p_table regclass, p_column text)
returns jsonb
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_rows constant bigint := estimate_rows(p_table);
  v_values jsonb;
begin
  if pg_relation_size(p_table) <= 32 * 1024 * 1024 then
    execute format(
      'select jsonb_object_agg(coalesce(%1$I::text, ''none''), n) from (select %1$I, count(*) as n from %2$s group by 1) v',
      p_column, p_table
    ) into v_values;
  else
    select jsonb_object_agg(value, (share * v_rows)::bigint) into v_values
      from pg_stats s
        cross join unnest(s.most_common_vals::text::text[], s.most_common_freqs) as common (value, share)
      where s.schemaname = 'public' and s.tablename = (select relname from pg_class where oid = p_table)
        and s.attname = p_column;
  end if;
  return coalesce(v_values, '{}');
end
$$;

-- contract: `{"posts", "embedded", "embeddings_stale", "scored", "scores_stale", "by_fingerprint": {fingerprint: n},
-- "embedding_dimensions": n | null}`. About how much is done, in a few milliseconds. Counts of tables over 32 MB are
-- those of the last ANALYZE, and null if there was none.
create or replace function public.estimate_work()
returns jsonb
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_stale_embeddings constant jsonb := estimate_values('post_embeddings', 'stale');
  v_stale_scores constant jsonb := estimate_values('llm_scores', 'stale');
begin
  return jsonb_build_object(
    'posts', estimate_rows('posts'),
    'embedded', estimate_rows('post_embeddings'),
    'embeddings_stale', coalesce(v_stale_embeddings -> 'true', v_stale_embeddings -> 't', '0'),
    'scored', estimate_rows('llm_scores'),
    'scores_stale', coalesce(v_stale_scores -> 'true', v_stale_scores -> 't', '0'),
    'by_fingerprint', estimate_values('llm_scores', 'fingerprint'),
    'embedding_dimensions', embedding_dimensions()
  );
end
$$;

-- contract: `{"posts", "embedded", "embeddings_stale", "scored", "scores_stale", "by_fingerprint": {fingerprint |
-- "none": n}, "embedding_dimensions": n | null, "leased", "failing", "dead", "work": {kind: {"leased", "failing",
-- "dead"}}, "jobs": {status: n}, "active_weights": {"id", "name", "weights"} | null}`. The state of the pipeline.
--
-- Each table is read once.
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
  ), embedding as (
    select count(*) filter (where embedding is not null) as embedded, count(*) filter (where stale) as stale
    from post_embeddings
  ), score as (
    select fingerprint, count(*) as scored, count(*) filter (where stale) as stale from llm_scores group by fingerprint
  )
  select jsonb_build_object(
    'posts', (select count(*) from posts),
    'embedded', (select embedded from embedding),
    -- The size of the column, so that the program can refuse vectors of another size before they are paid for.
    'embedding_dimensions', embedding_dimensions(),
    'embeddings_stale', (select stale from embedding),
    'scored', (select coalesce(sum(scored), 0) from score),
    'scores_stale', (select coalesce(sum(stale), 0) from score),
    'by_fingerprint', (select coalesce(jsonb_object_agg(coalesce(fingerprint, 'none'), scored), '{}') from score),
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
