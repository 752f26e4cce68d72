-- How often each category occurred lately. The novelty of a topic is computed from this.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace
      and proname in ('increment_topic_frequencies_batch', 'increment_topic_frequency')
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- For counting the posts that were first scored within the window.
create index if not exists llm_scores_created_at_idx on public.llm_scores (created_at);

-- contract: Counts the categories of all posts first scored within the window. Returns how many categories occurred.
--
-- It counts what is stored and never increments. So scoring a post again, or failing to store its score, cannot count
-- it twice.
create or replace function public.refresh_topic_frequencies()
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with recent as (
    select category, count(*)::integer as occurrences
    from llm_scores s
      cross join lateral (select distinct unnest(s.categories) as category) each
    where s.created_at >= now() - make_interval(days => coalesce(
      (select (value ->> 'window_days')::integer from settings where key = 'novelty_config'), 30))
    group by category
  ), counted as (
    insert into topic_frequencies as t (category, count_30d, last_updated)
      select coalesce(recent.category, known.category), coalesce(recent.occurrences, 0), clock_timestamp()
      from recent full join topic_frequencies known on known.category = recent.category
      order by 1
    on conflict (category) do update
      set count_30d = excluded.count_30d, last_updated = excluded.last_updated
    returning count_30d
  )
  select count(*) filter (where count_30d > 0)::integer from counted
$$;

-- contract: Adds to the count of a category until the next refresh. Kept for callers of the earlier implementation.
create function public.increment_topic_frequency(p_category text, p_increment integer default 1)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  insert into topic_frequencies as t (category, count_30d, last_updated)
    values (p_category, greatest(p_increment, 0), clock_timestamp())
  on conflict (category) do update
    set count_30d = greatest(coalesce(t.count_30d, 0) + p_increment, 0), last_updated = excluded.last_updated
$$;

-- contract: Adds to the counts of several categories. `p_updates` is `{"category": increment}` or `[{"category",
-- "increment"}]`. Kept for callers of the earlier implementation.
create function public.increment_topic_frequencies_batch(p_updates jsonb)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  if jsonb_typeof(p_updates) = 'object' then
    perform increment_topic_frequency(key, value::integer) from jsonb_each(p_updates) order by key;
  else
    perform increment_topic_frequency(u.category, sum(coalesce(u.increment, 1))::integer)
      from jsonb_to_recordset(p_updates) as u (category text, increment integer)
      group by u.category order by u.category;
  end if;
end
$$;
