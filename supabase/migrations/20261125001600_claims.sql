-- A claim waits for nobody, and its cost at the end of a pass does not grow with the posts that wait.

-- internal: Locks at most `p_limit` of the posts found and returns them. It leaves out posts that another transaction has
-- locked: claim_work reports them, and the pass does not count as empty.
create or replace function public.lock_found(p_found uuid[], p_limit integer)
returns uuid[]
language sql
set search_path = public, extensions, pg_temp
as $$
  select array(select id from posts where id = any (p_found) order by id limit p_limit for no key update skip locked)
$$;

-- internal: How many of the posts found were locked by another transaction. A claim that locked all it may has not tried
-- the posts after its last one.
create or replace function public.count_locked(p_found uuid[], p_locked uuid[], p_limit integer)
returns integer
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select count(*)::integer from unnest(p_found) as found (id)
  where id <> all (p_locked)
    and (cardinality(p_locked) < p_limit or id < p_locked[cardinality(p_locked)])
$$;

-- internal: Failing posts that nobody has leased and that are still due, the first to be tried again. If there are any,
-- it returns at least one and at most 1000: the end of a pass needs to know the first and whether there are any. A post
-- whose backoff is over counts too: this pass may have gone by it during the backoff.
create or replace function public.waiting_due(p_kind text, p_rule jsonb)
returns uuid[]
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
declare
  v_at timestamptz := '-infinity';
  v_last uuid := '00000000-0000-0000-0000-000000000000';
  v_posts uuid[];
  v_times timestamptz[];
  v_due uuid[];
begin
  loop
    select coalesce(array_agg(w.post_id order by w.at, w.post_id), '{}'), array_agg(w.at order by w.at, w.post_id)
      into v_posts, v_times
      from (
        select post_id, coalesce(next_attempt_at, '-infinity') as at from work_items
        where kind = p_kind and not dead and (leased_until is null or leased_until <= clock_timestamp())
          and (coalesce(next_attempt_at, '-infinity'), post_id) > (v_at, v_last)
        order by 2, 1
        limit 1000
      ) w;
    if v_posts = '{}' then
      return '{}';
    end if;
    v_due := due_posts(p_kind, v_posts, p_rule, null);
    if v_due <> '{}' then
      return v_due;
    end if;
    v_last := v_posts[cardinality(v_posts)];
    v_at := v_times[cardinality(v_times)];
  end loop;
end
$$;

-- contract: `{"rows": [{"id", "text", "attempts"}], "copied": n, "locked": n, "next_after": uuid | null, "waiting": n,
-- "next_attempt_ms": n | null, "leased_elsewhere": n}`. Leases at most `p_limit` due posts for this worker, among the
-- next `p_scan` posts after the cursor. `copied` counts due posts that got the embedding of another post with the same
-- text. `locked` counts due posts that were left out because another transaction had locked them. `waiting` is at most
-- 1000.
create or replace function public.claim_work(
  p_kind text, p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer, p_rule jsonb
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
set lock_timeout = '2s'
as $$
declare
  v_free uuid[];
  v_last uuid;
  v_found uuid[];
  v_locked uuid[];
  v_leased uuid[];
  v_due uuid[];
  v_rows uuid[];
  v_next uuid;
  v_waiting uuid[];
  v_skipped integer;
  v_result jsonb;
begin
  perform check_claim(p_worker, p_limit, p_lease_seconds, p_scan);
  perform check_rule(p_kind, p_rule);
  select free, last into v_free, v_last from claim_window(p_kind, p_after, p_scan);
  v_found := due_posts(p_kind, v_free, p_rule, found_limit(p_limit));
  v_locked := lock_found(v_found, p_limit);
  v_skipped := count_locked(v_found, v_locked, p_limit);
  v_leased := lease_locked(p_kind, p_worker, v_locked, p_lease_seconds);
  -- Another worker may have finished a post after it was found here. This statement sees what is committed by now.
  v_due := due_posts(p_kind, v_leased, p_rule, null);
  v_rows := v_due;
  if p_kind = 'embed' then
    v_rows := copy_embeddings(v_due, p_rule ->> 'model', (p_rule ->> 'dimensions')::integer);
  end if;
  if v_leased <> v_rows then
    perform finish_work(p_kind, p_worker, array(select unnest(v_leased) except select unnest(v_rows)));
  end if;
  v_next := claim_cursor(v_last, v_found, found_limit(p_limit), v_locked, p_limit);
  if v_next is null then
    v_waiting := waiting_due(p_kind, p_rule);
  end if;
  -- Last: two claims that swept before they leased waited for each other's deleted rows.
  if p_after is null then
    perform sweep_lapsed(p_kind);
  end if;
  v_result := claim_result(p_kind, p_worker, v_rows, cardinality(v_due) - cardinality(v_rows), v_next, v_waiting);
  return v_result || jsonb_build_object(
    'locked', v_skipped,
    'leased_elsewhere', (v_result ->> 'leased_elsewhere')::bigint + case when v_next is null then v_skipped else 0 end
  );
end
$$;

drop function if exists public.waiting_posts(text);
