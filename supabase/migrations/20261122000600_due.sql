-- What is due: one function for each kind of work, each the only place where its rule stands.
--
-- Each looks at the posts it is given and at no other, so its cost is that of as many index look-ups however large the
-- tables are. The lateral sub-selects with `limit 1` are what makes sure of it: the planner can run them as look-ups
-- only, where a plain left join could become a scan of a whole table. The answer keeps the order of the given ids. They
-- have no `set search_path`, because the planner inlines only functions without one and a caller's `limit` reaches only
-- into an inlined one. They name everything with its schema instead.
--
-- `outdated` is null where there is no row, and false where what a row does not know leaves the rule undecided: an unknown
-- size counts as the right one. The text is tested last and only where the rest holds: for the rows that are done it is
-- never read.

-- No embedding, or one of an older text, of another model, of another known size; with `p_refresh` also one whose text
-- is unknown.
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

-- By mode: `missing` = no score, or one of an older text; `stale` = also one with another fingerprint; `all` = also one
-- from before `p_before`.
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

-- Scored, but with no number under the dimension.
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
