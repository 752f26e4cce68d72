-- What happens to a lease after its claim waits in line for nobody, as in 20261125001300_locks.
--
-- Somebody who deletes posts holds their leases too, in an order of his own. A heartbeat that held one of these leases
-- and waited for another was part of a deadlock.

-- internal: Locks the worker's leases on these posts, or all of them, and returns their posts. A lease that another
-- transaction has locked is tried again for two seconds, and then it is left out.
create or replace function public.lock_leases(p_kind text, p_worker uuid, p_posts uuid[])
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
-- A plan is kept, also one that was made while the table was empty.
set enable_seqscan = off
as $$
declare
  v_until constant timestamptz := clock_timestamp() + interval '2 seconds';
  v_wanted constant uuid[] := coalesce(
    p_posts, array(select post_id from work_items where kind = p_kind and worker = p_worker)
  );
  v_locked uuid[];
begin
  loop
    v_locked := array(
      select post_id from work_items
      where kind = p_kind and worker = p_worker and post_id = any (v_wanted)
      order by post_id
      for update skip locked
    );
    exit when clock_timestamp() >= v_until or not exists (
      select from work_items
      where kind = p_kind and worker = p_worker and post_id = any (v_wanted) and post_id <> all (v_locked)
    );
    perform pg_sleep(0.02);
  end loop;
  return v_locked;
end
$$;

revoke execute on function public.lock_leases(text, uuid, uuid[]) from public, anon, authenticated;
grant execute on function public.lock_leases(text, uuid, uuid[]) to service_role;

-- contract: Extends the worker's leases on these posts to `p_lease_seconds` from now. Returns the posts that it still
-- holds. A lapsed lease that nobody took is still its worker's.
create or replace function public.extend_work(
  p_kind text, p_worker uuid, p_post_ids uuid[], p_lease_seconds integer
)
returns setof uuid
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_held constant uuid[] := lock_leases(p_kind, p_worker, coalesce(p_post_ids, '{}'));
begin
  return query
    update work_items w
      set leased_until = clock_timestamp() + make_interval(secs => p_lease_seconds), updated_at = clock_timestamp()
      where w.kind = p_kind and w.post_id = any (v_held) and w.leased_until is not null
      returning w.post_id;
end
$$;

-- contract: Deletes the worker's leases on posts that are done. Returns how many.
create or replace function public.finish_work(p_kind text, p_worker uuid, p_post_ids uuid[])
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_held constant uuid[] := lock_leases(p_kind, p_worker, coalesce(p_post_ids, '{}'));
begin
  delete from work_items where kind = p_kind and post_id = any (v_held);
  return cardinality(v_held);
end
$$;

-- contract: Releases the worker's leases without charging an attempt. Returns how many. Null ids mean every lease of
-- this worker and kind.
create or replace function public.release_work(p_kind text, p_worker uuid, p_post_ids uuid[])
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_held constant uuid[] := lock_leases(p_kind, p_worker, p_post_ids);
begin
  delete from work_items where kind = p_kind and post_id = any (v_held) and attempts = 0;
  update work_items
    set worker = null, leased_until = null, updated_at = clock_timestamp()
    where kind = p_kind and post_id = any (v_held) and attempts > 0;
  return cardinality(v_held);
end
$$;
