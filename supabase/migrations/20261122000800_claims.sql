-- The claims of each kind, and what they share. 20261125000100_work replaces the claims by one.

-- internal: How many posts a claim finds for each one that it leases. With this many claims at the same place of the
-- table, each still finds enough posts that the others have not locked.
create or replace function public.found_limit(p_limit integer)
returns integer
language sql immutable
set search_path = public, extensions, pg_temp
as $$
  select 4 * p_limit
$$;

-- internal: Raises an error if an argument of a claim is missing or is not positive.
create or replace function public.check_claim(p_worker uuid, p_limit integer, p_lease_seconds integer, p_scan integer)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  if p_worker is null or p_limit is null or p_limit < 1 or p_scan is null or p_scan < 1
    or p_lease_seconds is null or p_lease_seconds < 1
  then
    raise exception 'a claim needs a worker and at least 1 for its limit, its scan and its lease seconds'
      using errcode = '22023', hint = 'give p_worker, and positive p_limit, p_scan and p_lease_seconds';
  end if;
end
$$;

-- Redefined in 20261125000100_work.
create or replace function public.claim_embed_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_model text, p_dimensions integer, p_refresh boolean
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_kind constant text := 'embed';
  v_free uuid[];
  v_last uuid;
  v_found uuid[];
  v_locked uuid[];
  v_leased uuid[];
  v_due uuid[];
  v_left uuid[];
  v_next uuid;
  v_waiting uuid[];
begin
  perform check_claim(p_worker, p_limit, p_lease_seconds, p_scan);
  select free, last into v_free, v_last from claim_window(v_kind, p_after, p_scan);
  v_found := array(
    select id from embed_due(v_free, p_model, p_dimensions, p_refresh) as due (id) limit found_limit(p_limit)
  );
  v_locked := lock_found(v_found, p_limit);
  v_leased := lease_locked(v_kind, p_worker, v_locked, p_lease_seconds);
  -- A new statement sees what was committed since. Another worker may have finished a post after it was found here.
  v_due := array(select id from embed_due(v_leased, p_model, p_dimensions, p_refresh) as due (id));
  v_left := adopt_embeddings(v_due, p_model, p_dimensions);
  v_next := claim_cursor(v_last, v_found, found_limit(p_limit), v_locked, p_limit);
  if v_next is null then
    v_waiting := array(
      select id from embed_due(waiting_posts(v_kind), p_model, p_dimensions, p_refresh) as due (id)
    );
  end if;
  if p_after is null then
    perform sweep_lapsed(v_kind);
  end if;
  return claim_answer(v_kind, p_worker, v_leased, v_left, v_next, v_waiting)
    || jsonb_build_object('adopted', cardinality(v_due) - cardinality(v_left));
end
$$;

-- Redefined in 20261125000100_work.
create or replace function public.claim_score_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_mode text, p_fingerprint text, p_before timestamptz
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_kind constant text := 'score';
  v_free uuid[];
  v_last uuid;
  v_found uuid[];
  v_locked uuid[];
  v_leased uuid[];
  v_due uuid[];
  v_next uuid;
  v_waiting uuid[];
begin
  perform check_claim(p_worker, p_limit, p_lease_seconds, p_scan);
  if p_mode is null or p_mode not in ('missing', 'stale', 'all') then
    raise exception 'unknown mode %', quote_nullable(p_mode)
      using errcode = '22023', hint = 'p_mode is one of missing, stale, all';
  end if;
  select free, last into v_free, v_last from claim_window(v_kind, p_after, p_scan);
  v_found := array(
    select id from score_due(v_free, p_mode, p_fingerprint, p_before) as due (id) limit found_limit(p_limit)
  );
  v_locked := lock_found(v_found, p_limit);
  v_leased := lease_locked(v_kind, p_worker, v_locked, p_lease_seconds);
  -- A new statement sees what was committed since. Another worker may have finished a post after it was found here.
  v_due := array(select id from score_due(v_leased, p_mode, p_fingerprint, p_before) as due (id));
  v_next := claim_cursor(v_last, v_found, found_limit(p_limit), v_locked, p_limit);
  if v_next is null then
    v_waiting := array(
      select id from score_due(waiting_posts(v_kind), p_mode, p_fingerprint, p_before) as due (id)
    );
  end if;
  if p_after is null then
    perform sweep_lapsed(v_kind);
  end if;
  return claim_answer(v_kind, p_worker, v_leased, v_due, v_next, v_waiting);
end
$$;

-- Redefined in 20261125000100_work.
create or replace function public.claim_backfill_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_dimension text
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_kind constant text := 'backfill:' || p_dimension;
  v_free uuid[];
  v_last uuid;
  v_found uuid[];
  v_locked uuid[];
  v_leased uuid[];
  v_due uuid[];
  v_next uuid;
  v_waiting uuid[];
begin
  perform check_claim(p_worker, p_limit, p_lease_seconds, p_scan);
  if coalesce(p_dimension, '') = '' then
    raise exception 'a backfill needs a dimension' using errcode = '22023', hint = 'give p_dimension';
  end if;
  select free, last into v_free, v_last from claim_window(v_kind, p_after, p_scan);
  v_found := array(
    select id from backfill_due(v_free, p_dimension) as due (id) limit found_limit(p_limit)
  );
  v_locked := lock_found(v_found, p_limit);
  v_leased := lease_locked(v_kind, p_worker, v_locked, p_lease_seconds);
  -- A new statement sees what was committed since. Another worker may have finished a post after it was found here.
  v_due := array(select id from backfill_due(v_leased, p_dimension) as due (id));
  v_next := claim_cursor(v_last, v_found, found_limit(p_limit), v_locked, p_limit);
  if v_next is null then
    v_waiting := array(
      select id from backfill_due(waiting_posts(v_kind), p_dimension) as due (id)
    );
  end if;
  if p_after is null then
    perform sweep_lapsed(v_kind);
  end if;
  return claim_answer(v_kind, p_worker, v_leased, v_due, v_next, v_waiting);
end
$$;
