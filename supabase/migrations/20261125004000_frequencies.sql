-- Counts the categories of a million posts in less than a second.

-- contract: Counts the categories of all posts first scored within the window. Returns how many categories occurred.
--
-- It counts what is stored and never increments. So scoring a post again, or failing to store its score, cannot count
-- it twice. Sets of categories are counted first, because there are few different ones. `execute` is there because
-- Postgres may use several processes for it, but not for a query that writes, or that stands in plpgsql itself.
create or replace function public.refresh_topic_frequencies()
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_since constant timestamptz := now() - make_interval(days => coalesce(
    (select (value ->> 'window_days')::integer from settings where key = 'novelty_config'), 30));
  v_categories text[];
  v_counts integer[];
  v_occurring integer;
begin
  execute
    'select coalesce(array_agg(category), ''{}''), array_agg(occurrences)
     from (
       select category, sum(posts)::integer as occurrences
       from (
         select categories, count(*) as posts from llm_scores where created_at >= $1 group by categories
       ) alike
         cross join lateral (select distinct unnest(alike.categories) as category) each
       group by category
     ) counted'
    into v_categories, v_counts
    using v_since;
  with counted as (
    insert into topic_frequencies as t (category, count_30d, last_updated)
      select coalesce(recent.category, known.category), coalesce(recent.occurrences, 0), clock_timestamp()
      from unnest(v_categories, v_counts) as recent (category, occurrences)
        full join topic_frequencies known on known.category = recent.category
      order by 1
    on conflict (category) do update
      set count_30d = excluded.count_30d, last_updated = excluded.last_updated
    returning count_30d
  )
  select count(*) filter (where count_30d > 0) into v_occurring from counted;
  return v_occurring;
end
$$;
