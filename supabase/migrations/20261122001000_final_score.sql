-- The final score. This is its only formula in the database. docs/scoring.md explains it with examples.
--
--   final = Σ score·weight / Σ 10·weight · 10 · novelty, between 0 and 10
--
-- The planner inlines the parts of the formula into a query over 200,000 rows. For that they have no `set
-- search_path`, and those that look at several values return a table. They take the weights and the bounds as arrays,
-- so that these are unpacked once and not for each row.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'compute_final_score_runtime'
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- internal: The weights as two arrays, by name. Raises an error if they are not an object of numbers, if one is
-- negative, or if they add up to zero.
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
  select array_agg(key order by key collate "C"), array_agg(value::double precision order by key collate "C")
    into names, weights
    from jsonb_each(p_weights);
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

-- internal: The bounds of the novelty multiplier: {lowest, highest, rare, common, very common}. A bound that the
-- config lacks has its default.
create or replace function public.unpack_novelty(p_config jsonb)
returns double precision[]
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select array[
    coalesce((p_config ->> 'min_multiplier')::double precision, 0.2),
    coalesce((p_config ->> 'max_multiplier')::double precision, 1.5),
    coalesce((p_config #>> '{frequency_thresholds,rare}')::double precision, 5),
    coalesce((p_config #>> '{frequency_thresholds,common}')::double precision, 30),
    coalesce((p_config #>> '{frequency_thresholds,very_common}')::double precision, 100)
  ]
$$;

-- internal: A stored score as the formula counts it. A dimension that is missing or is not a number counts as 5.0,
-- until the post is scored again or backfilled. See docs/scoring.md, "A missing dimension".
create or replace function public.score_or_missing(p_score jsonb)
returns double precision
language sql immutable parallel safe
as $$
  select case when jsonb_typeof(p_score) = 'number' then p_score::double precision else 5.0 end
$$;

-- internal: Σ score·weight / Σ 10·weight of these scores.
create or replace function public.weighted_share(p_scores jsonb, p_names text[], p_weights double precision[])
returns table (share double precision)
language sql immutable parallel safe
as $$
  select sum(dimension.weight * public.score_or_missing(p_scores -> dimension.name)) / (10 * sum(dimension.weight))
  from unnest(p_names, p_weights) as dimension (name, weight)
$$;

-- internal: The same sum as a text of SQL for these weights, over columns d1, d2, … with the scores in the order of
-- the names. A loop over the weights for each row takes twice as long.
create or replace function public.weighted_share_sql(p_weights double precision[])
returns text
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select format('(%s) / %L::float8',
    string_agg(format('%L::float8 * public.score_or_missing(d%s)', weight, place), ' + ' order by place),
    10 * sum(weight order by place)
  )
  from unnest(p_weights) with ordinality as given (weight, place)
$$;

-- internal: The novelty multiplier, by the mean frequency of the post's categories.
create or replace function public.novelty_of(
  p_categories text[], p_novelty double precision[], p_frequencies jsonb, p_total_scored integer
)
returns table (multiplier double precision)
language sql immutable parallel safe
as $$
  select case
    -- A frequency says nothing if few posts are scored, or if a post has no categories.
    when coalesce(p_total_scored, 0) < 30 or coalesce(p_frequencies, '{}') = '{}' or topic.frequency is null then 1
    when topic.frequency <= p_novelty[3] then p_novelty[2]
    when topic.frequency <= p_novelty[4] then
      p_novelty[2] + (1 - p_novelty[2]) * (topic.frequency - p_novelty[3]) / (p_novelty[4] - p_novelty[3])
    when topic.frequency <= p_novelty[5] then
      1 + (p_novelty[1] - 1) * (topic.frequency - p_novelty[4]) / (p_novelty[5] - p_novelty[4])
    else p_novelty[1]
  end
  from (
    select avg(coalesce((p_frequencies -> category)::double precision, 0)) as frequency
    from unnest(p_categories) as category
  ) topic
$$;

-- internal: The final score of a share and a multiplier, between 0 and 10.
create or replace function public.novel_score(p_share double precision, p_multiplier double precision)
returns double precision
language sql immutable parallel safe
as $$
  select greatest(0, least(10, p_share * 10 * p_multiplier))
$$;

-- internal: The final score of one post, for the planner to inline.
create or replace function public.final_score_of(
  p_scores jsonb,
  p_categories text[],
  p_names text[],
  p_weights double precision[],
  p_novelty double precision[],
  p_frequencies jsonb,
  p_total_scored integer
)
returns table (final_score double precision)
language sql immutable parallel safe
as $$
  select public.novel_score(weighted.share, novelty.multiplier)
  from public.weighted_share(p_scores, p_names, p_weights) weighted
    cross join public.novelty_of(p_categories, p_novelty, p_frequencies, p_total_scored) novelty
$$;

-- contract: The final score of one row. The earlier implementation has a function of this name and with these
-- arguments.
create function public.compute_final_score_runtime(
  p_scores jsonb,
  p_categories text[],
  p_weights jsonb,
  p_novelty_config jsonb,
  p_frequencies jsonb,
  p_total_scored integer
)
returns double precision
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select f.final_score
  from unpack_weights(p_weights) as w
    cross join lateral final_score_of(
      p_scores, p_categories, w.names, w.weights, unpack_novelty(p_novelty_config), p_frequencies, p_total_scored
    ) f
$$;

-- contract: The active weight config, or null. It is the one that the settings name, or else the newest one with
-- `is_active`.
create or replace function public.active_weight_config()
returns uuid
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select c.id
  from weight_configs c
    left join settings s on s.key = 'active_weight_config_id' and s.value #>> '{}' = c.id::text
  where s.key is not null or c.is_active
  order by s.key is not null desc, c.created_at desc nulls last, c.id
  limit 1
$$;

-- internal: Everything that a final score depends on besides the post's own scores, as one value to keep: {"weights",
-- "novelty", "frequencies", "total_scored"}. More than 30 scored posts make no difference, so counting stops there.
create or replace function public.score_basis(p_weights jsonb)
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select jsonb_build_object(
    'weights', p_weights,
    'novelty', coalesce((select value from settings where key = 'novelty_config'), '{}'),
    'frequencies', coalesce((select jsonb_object_agg(category, count_30d) from topic_frequencies where count_30d > 0), '{}'),
    'total_scored', (select count(*) from (select from llm_scores limit 30) first)
  )
$$;
