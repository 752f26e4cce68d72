-- What is due: one function for each kind of work. The rule of a kind is written here and nowhere else.
--
-- Each function looks only at the posts that it is given, so its cost does not depend on the size of the tables. The
-- lateral sub-selects with `limit 1` ensure this. The planner can run them as index look-ups only, but it could turn a
-- plain left join into a scan of the table. The result keeps the order of the given ids.
--
-- There is no `set search_path`, because the planner inlines only functions without one. Only an inlined function
-- stops early at the caller's `limit`. So every name here carries its schema.
--
-- `outdated` is null if there is no row. It is false if a column of the row is unknown: an unknown size counts as the
-- right one. The text is tested last, so the text of a post that is done is never read.

-- internal: Posts without an embedding, or with one of an older text, another model or another known size. `p_refresh`
-- adds embeddings without a text hash.
create or replace function public.embed_due(
  p_posts uuid[], p_model text, p_dimensions integer, p_refresh boolean
)
returns setof uuid
language sql stable
as $$
  select given.id
  from unnest(p_posts) as given (id)
    cross join lateral (select p.text from public.posts p where p.id = given.id limit 1) p
    left join lateral (
      select coalesce(
        e.stale
        or e.embedding is null
        or e.model is distinct from p_model
        or e.dimensions <> p_dimensions
        or (p_refresh and e.text_hash is null),
        false
      ) as outdated
      from public.post_embeddings e where e.post_id = given.id limit 1
    ) e on true
  where case when coalesce(e.outdated, true) then not public.is_blank(p.text) else false end
$$;

-- internal: Posts that are due to be scored. `missing`: no score, or one of an older text. `stale`: also scores with
-- another fingerprint. `all`: also scores from before `p_before`.
create or replace function public.score_due(
  p_posts uuid[], p_mode text, p_fingerprint text, p_before timestamptz
)
returns setof uuid
language sql stable
as $$
  select given.id
  from unnest(p_posts) as given (id)
    cross join lateral (select p.text from public.posts p where p.id = given.id limit 1) p
    left join lateral (
      select coalesce(
        s.stale
        or (p_mode in ('stale', 'all') and s.fingerprint is distinct from p_fingerprint)
        or (p_mode = 'all' and coalesce(s.scored_at, s.created_at) < p_before),
        false
      ) as outdated
      from public.llm_scores s where s.post_id = given.id limit 1
    ) s on true
  where case when coalesce(s.outdated, true) then not public.is_blank(p.text) else false end
$$;

-- internal: Scored posts without a number for the dimension.
create or replace function public.backfill_due(p_posts uuid[], p_dimension text)
returns setof uuid
language sql stable
as $$
  select given.id
  from unnest(p_posts) as given (id)
    cross join lateral (select p.text from public.posts p where p.id = given.id limit 1) p
    cross join lateral (
      select jsonb_typeof(s.scores -> p_dimension) is distinct from 'number' as lacking
      from public.llm_scores s where s.post_id = given.id limit 1
    ) s
  where case when s.lacking then not public.is_blank(p.text) else false end
$$;
