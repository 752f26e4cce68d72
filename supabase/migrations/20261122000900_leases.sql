-- What happens to a lease after its claim: it is extended, finished, released or failed, and failures are replayed.
--
-- Only the worker that holds a lease changes it. Rows are locked in the order of the posts, as claims insert them.

-- contract: Extends the worker's leases on these posts to `p_lease_seconds` from now. Returns the posts that it still
-- holds. A lapsed lease that nobody took is still its worker's.
create or replace function public.extend_work(
  p_kind text, p_worker uuid, p_post_ids uuid[], p_lease_seconds integer
)
returns setof uuid
language sql
set search_path = public, extensions, pg_temp
as $$
  with held as materialized (
    select post_id from work_items
    where kind = p_kind and post_id = any (p_post_ids) and worker = p_worker and leased_until is not null
    order by post_id
    for update
  )
  update work_items w
    set leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds), updated_at = clock_timestamp()
    from held
    where w.kind = p_kind and w.post_id = held.post_id
    returning w.post_id
$$;

-- contract: Deletes the worker's leases on posts that are done. Returns how many.
create or replace function public.finish_work(p_kind text, p_worker uuid, p_post_ids uuid[])
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with held as materialized (
    select post_id from work_items
    where kind = p_kind and post_id = any (p_post_ids) and worker = p_worker
    order by post_id
    for update
  ), finished as (
    delete from work_items w using held
      where w.kind = p_kind and w.post_id = held.post_id
      returning 1
  )
  select count(*)::integer from finished
$$;

-- contract: Releases the worker's leases without charging an attempt. Returns how many. Null ids mean every lease of
-- this worker and kind.
create or replace function public.release_work(p_kind text, p_worker uuid, p_post_ids uuid[])
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with held as materialized (
    select post_id, attempts from work_items
    where kind = p_kind and worker = p_worker and (p_post_ids is null or post_id = any (p_post_ids))
    order by post_id
    for update
  ), deleted as (
    delete from work_items w using held
      where held.attempts = 0 and w.kind = p_kind and w.post_id = held.post_id
      returning 1
  ), kept as (
    update work_items w
      set worker = null, leased_until = null, updated_at = clock_timestamp()
      from held
      where held.attempts > 0 and w.kind = p_kind and w.post_id = held.post_id
      returning 1
  )
  select ((select count(*) from deleted) + (select count(*) from kept))::integer
$$;

-- contract: `{"retrying": n, "dead": n, "dead_ids": [uuid]}`. Charges an attempt to each failed post. `p_failures` is
-- `[{"post_id", "error", "permanent"}]`. A post is due again after backoff · 2^(attempts − 1). It is dead if the
-- failure is permanent or was the last attempt. Errors are truncated to 1000 characters.
--
-- A failure counts even if its lease was swept in the meantime. It does not count if another worker leases the post by
-- now.
create or replace function public.fail_work(
  p_kind text, p_worker uuid, p_failures jsonb, p_max_attempts integer, p_backoff_seconds integer
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  with failure as (
    select distinct on (f.post_id) f.post_id, left(f.error, 1000) as error, coalesce(f.permanent, false) as permanent
    from jsonb_to_recordset(p_failures) as f (post_id uuid, error text, permanent boolean)
      join posts p on p.id = f.post_id
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
  from failed
$$;

-- contract: Makes dead and failing posts due again at once, as if they had never failed. Returns how many. Null means
-- every kind or every post.
create or replace function public.replay_work(p_kind text, p_post_ids uuid[])
returns integer
language sql
set search_path = public, extensions, pg_temp
as $$
  with failing as materialized (
    select kind, post_id from work_items
    where (p_kind is null or kind = p_kind)
      and (p_post_ids is null or post_id = any (p_post_ids))
      and (dead or attempts > 0)
      and (leased_until is null or leased_until <= clock_timestamp())
    order by kind, post_id
    for update
  ), replayed as (
    delete from work_items w using failing
      where w.kind = failing.kind and w.post_id = failing.post_id
      returning 1
  )
  select count(*)::integer from replayed
$$;
