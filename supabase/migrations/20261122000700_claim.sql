-- Claims: how several runners on several machines share the posts that are due.
--
-- A claim starts at a cursor over the ids of the posts and looks at no more than `p_scan` of them. So its cost does
-- not grow with the table or with what is done. The steps are the same for every kind: find, lock, lease, check again,
-- return. They are defined here.
--
-- Every function that writes takes its locks in the order of the ids, on posts first and then on work_items. So no two
-- of them wait for each other. Leases expire by clock_timestamp(), because now() is the start of the transaction. A
-- claim that waited for a lock would compare leases with a time in the past.

-- internal: Looks at the next `p_scan` posts after the cursor. `free` are the ids that nobody holds. `last` is the
-- last id, or null at the end of the table.
create or replace function public.claim_window(
  p_kind text, p_after uuid, p_scan integer, out free uuid[], out last uuid
)
language sql volatile
set search_path = public, extensions, pg_temp
as $$
  with seen as materialized (
    -- The lower bound is one that an index can start from, whether there is a cursor or not.
    select id from posts
    where id >= coalesce(p_after, '00000000-0000-0000-0000-000000000000') and id is distinct from p_after
    order by id
    limit p_scan
  )
  select
    coalesce(array_agg(seen.id order by seen.id) filter (where held.held is null), '{}'),
    case when count(*) >= p_scan then (array_agg(seen.id order by seen.id desc))[1] end
  from seen
    left join lateral (
      select true as held from work_items w
      where w.kind = p_kind and w.post_id = seen.id
        and (w.dead or w.leased_until > clock_timestamp() or w.next_attempt_at > clock_timestamp())
      limit 1
    ) held on true
$$;

-- internal: Locks at most `p_limit` of the posts found and returns them. It skips posts that another transaction has
-- locked, so claims do not wait for each other. If every post is locked, it waits: the posts may only be locked by a
-- write, and then the pass must not end as empty.
create or replace function public.lock_found(p_found uuid[], p_limit integer)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_locked uuid[] := array(
    select id from posts where id = any (p_found) order by id limit p_limit for no key update skip locked
  );
begin
  if v_locked = '{}' and p_found <> '{}' then
    v_locked := array(
      select id from posts where id = any (p_found) order by id limit p_limit for no key update
    );
  end if;
  return v_locked;
end
$$;

-- internal: Leases the locked posts and returns those it got. A post that another worker leased or failed in the
-- meantime is left out.
create or replace function public.lease_locked(
  p_kind text, p_worker uuid, p_locked uuid[], p_lease_seconds integer
)
returns uuid[]
language sql
set search_path = public, extensions, pg_temp
as $$
  with leased as (
    insert into work_items as w (kind, post_id, worker, leased_until)
      select p_kind, locked.id, p_worker, clock_timestamp() + make_interval(secs => p_lease_seconds)
      from unnest(p_locked) as locked (id)
      order by locked.id
    on conflict (kind, post_id) do update
      set worker = excluded.worker, leased_until = excluded.leased_until, updated_at = clock_timestamp()
      where not w.dead
        and (w.leased_until is null or w.leased_until <= clock_timestamp())
        and (w.next_attempt_at is null or w.next_attempt_at <= clock_timestamp())
    returning w.post_id
  )
  select coalesce(array_agg(post_id order by post_id), '{}') from leased
$$;

-- internal: The cursor of the next claim, null at the end of the table. A claim that found more posts than it locked
-- continues after the last one it locked.
create or replace function public.claim_cursor(
  p_last uuid, p_found uuid[], p_found_limit integer, p_locked uuid[], p_limit integer
)
returns uuid
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select case
    when cardinality(p_locked) >= p_limit then p_locked[cardinality(p_locked)]
    when cardinality(p_found) >= p_found_limit then p_found[cardinality(p_found)]
    else p_last
  end
$$;

-- internal: Deletes lapsed leases without a failure, which a crash leaves behind. If such a post is no longer due,
-- nothing else would delete its lease.
create or replace function public.sweep_lapsed(p_kind text)
returns void
language sql
set search_path = public, extensions, pg_temp
as $$
  delete from work_items w
    using (
      select post_id from work_items
      where kind = p_kind and attempts = 0 and not dead and leased_until <= clock_timestamp()
      order by post_id
      for update skip locked
    ) lapsed
    where w.kind = p_kind and w.post_id = lapsed.post_id
$$;

-- internal: The failing posts of a kind that nobody has leased. A post whose backoff is over counts too: this pass may
-- have gone by it during the backoff.
create or replace function public.waiting_posts(p_kind text)
returns uuid[]
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select array(
    select post_id from work_items
    where kind = p_kind and not dead and (leased_until is null or leased_until <= clock_timestamp())
    order by post_id
  )
$$;

-- Replaced by claim_result in 20261125000100_work.
create or replace function public.claim_answer(
  p_kind text, p_worker uuid, p_leased uuid[], p_due uuid[], p_next uuid, p_waiting uuid[]
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_rows jsonb;
  v_waiting bigint := 0;
  v_next_attempt timestamptz;
  v_elsewhere bigint := 0;
begin
  if p_leased <> p_due then
    perform finish_work(p_kind, p_worker, array(select unnest(p_leased) except select unnest(p_due)));
  end if;
  select coalesce(
      jsonb_agg(jsonb_build_object('id', p.id, 'text', p.text, 'attempts', w.attempts) order by p.id), '[]'
    ) into v_rows
    from unnest(p_due) as due (id)
      join posts p on p.id = due.id
      join work_items w on w.kind = p_kind and w.post_id = due.id;
  if p_next is null then
    select count(*), min(coalesce(next_attempt_at, clock_timestamp())) into v_waiting, v_next_attempt
      from work_items where kind = p_kind and post_id = any (p_waiting);
    select count(*) into v_elsewhere
      from work_items
      where kind = p_kind and leased_until > clock_timestamp() and worker is distinct from p_worker;
  end if;
  return jsonb_build_object(
    'rows', v_rows,
    'next_after', p_next,
    'waiting', v_waiting,
    'next_attempt_ms', case when v_waiting > 0 then
      greatest(0, ceil(extract(epoch from v_next_attempt - clock_timestamp()) * 1000))::bigint
    end,
    'leased_elsewhere', v_elsewhere
  );
end
$$;
