-- One claim, one peek and one count for every kind of work.
--
-- Before this there was a claim and a peek for each kind. They did the same and differed in their rule alone. Now a
-- kind is a text and its rule is one jsonb value:
--
--   kind                  rule
--   embed                 {"model", "dimensions", "refresh"}
--   score                 {"mode": "missing" | "stale" | "all", "fingerprint", "before"}
--   backfill:DIMENSION    {}
--
-- 000600_due says what each rule means, 000700_claim has the steps of a claim.

-- internal: Raises an error if the kind is unknown or if its rule lacks a value. A misspelled key would make every post
-- due, and each due post is paid for.
create or replace function public.check_rule(p_kind text, p_rule jsonb)
returns void
language plpgsql immutable
set search_path = public, extensions, pg_temp
as $$
declare
  v_mode text := p_rule ->> 'mode';
begin
  if p_kind = 'embed' then
    if p_rule ->> 'model' is null or p_rule ->> 'dimensions' is null then
      raise exception 'the rule of embed needs a model and its dimensions'
        using errcode = '22023', hint = 'give p_rule as {"model": "text-embedding-3-small", "dimensions": 1536}';
    end if;
  elsif p_kind = 'score' then
    if v_mode is null or v_mode not in ('missing', 'stale', 'all') then
      raise exception 'unknown mode %', quote_nullable(v_mode)
        using errcode = '22023', hint = 'the mode in p_rule is one of missing, stale, all';
    elsif v_mode <> 'missing' and p_rule ->> 'fingerprint' is null then
      raise exception 'the mode % needs a fingerprint', v_mode
        using errcode = '22023', hint = 'give the fingerprint of current scores in p_rule';
    end if;
  elsif p_kind is null or p_kind not like 'backfill:_%' then
    raise exception 'unknown kind of work %', quote_nullable(p_kind)
      using errcode = '22023', hint = 'p_kind is one of embed, score, backfill:DIMENSION';
  end if;
end
$$;

-- internal: The due posts among these, in their order and at most `p_limit` of them. Null is no limit.
--
-- `enable_seqscan` is off, here and in the claim, because a plan is kept. A plan that was made while the tables were
-- empty would go on reading them whole after they have filled.
create or replace function public.due_posts(p_kind text, p_posts uuid[], p_rule jsonb, p_limit integer)
returns uuid[]
language plpgsql stable
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  -- Variables, because the parts of an inlined rule would read the jsonb once for each post.
  v_model text := p_rule ->> 'model';
  v_dimensions integer := p_rule ->> 'dimensions';
  v_refresh boolean := coalesce((p_rule ->> 'refresh')::boolean, false);
  v_mode text := p_rule ->> 'mode';
  v_fingerprint text := p_rule ->> 'fingerprint';
  v_before timestamptz := p_rule ->> 'before';
  v_dimension text := substr(p_kind, length('backfill:') + 1);
begin
  if p_kind = 'embed' then
    return array(select id from embed_due(p_posts, v_model, v_dimensions, v_refresh) as due (id) limit p_limit);
  elsif p_kind = 'score' then
    return array(select id from score_due(p_posts, v_mode, v_fingerprint, v_before) as due (id) limit p_limit);
  else
    return array(select id from backfill_due(p_posts, v_dimension) as due (id) limit p_limit);
  end if;
end
$$;

-- internal: Copies the embedding of the same text from another post, if there is one. Returns the posts that are left to
-- be embedded, in the order of their ids.
create or replace function public.copy_embeddings(p_posts uuid[], p_model text, p_dimensions integer)
returns uuid[]
language sql
set search_path = public, extensions, pg_temp
as $$
  with copied as (
    insert into post_embeddings as e (post_id, embedding, model, dimensions, text_hash)
      select p.id, same.embedding, same.model, same.dimensions, same.text_hash
      from posts p
        cross join lateral (
          select t.embedding, t.model, t.dimensions, t.text_hash
          from post_embeddings t
          where t.text_hash = text_sha256(p.text) and t.model = p_model and not t.stale
            and t.dimensions = p_dimensions and t.embedding is not null
          limit 1
        ) same
      where p.id = any (p_posts)
      order by p.id
    on conflict (post_id) do update set
      embedding = excluded.embedding,
      model = excluded.model,
      dimensions = excluded.dimensions,
      text_hash = excluded.text_hash
    returning e.post_id
  )
  select array(
    select id from unnest(p_posts) as given (id) where id not in (select post_id from copied) order by id
  )
$$;

-- internal: The rows of a claim and, at the end of a pass, what else there is of the kind. `p_waiting` are the failing
-- posts that are still due.
create or replace function public.claim_result(
  p_kind text, p_worker uuid, p_posts uuid[], p_copied integer, p_next uuid, p_waiting uuid[]
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
  select coalesce(
      jsonb_agg(jsonb_build_object('id', p.id, 'text', p.text, 'attempts', w.attempts) order by p.id), '[]'
    ) into v_rows
    from unnest(p_posts) as leased (id)
      join posts p on p.id = leased.id
      join work_items w on w.kind = p_kind and w.post_id = leased.id;
  if p_next is null then
    select count(*), min(coalesce(next_attempt_at, clock_timestamp())) into v_waiting, v_next_attempt
      from work_items where kind = p_kind and post_id = any (p_waiting);
    select count(*) into v_elsewhere
      from work_items
      where kind = p_kind and leased_until > clock_timestamp() and worker is distinct from p_worker;
  end if;
  return jsonb_build_object(
    'rows', v_rows,
    'copied', p_copied,
    'next_after', p_next,
    'waiting', v_waiting,
    'next_attempt_ms', case when v_waiting > 0 then
      greatest(0, ceil(extract(epoch from v_next_attempt - clock_timestamp()) * 1000))::bigint
    end,
    'leased_elsewhere', v_elsewhere
  );
end
$$;

-- contract: `{"rows": [{"id", "text", "attempts"}], "copied": n, "next_after": uuid | null, "waiting": n,
-- "next_attempt_ms": n | null, "leased_elsewhere": n}`. Leases at most `p_limit` due posts for this worker, among the
-- next `p_scan` posts after the cursor. `copied` counts due posts that got the embedding of another post with the same
-- text.
create or replace function public.claim_work(
  p_kind text, p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer, p_rule jsonb
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
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
begin
  perform check_claim(p_worker, p_limit, p_lease_seconds, p_scan);
  perform check_rule(p_kind, p_rule);
  select free, last into v_free, v_last from claim_window(p_kind, p_after, p_scan);
  v_found := due_posts(p_kind, v_free, p_rule, found_limit(p_limit));
  v_locked := lock_found(v_found, p_limit);
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
    v_waiting := due_posts(p_kind, waiting_posts(p_kind), p_rule, null);
  end if;
  -- Last: two claims that swept before they leased waited for each other's deleted rows.
  if p_after is null then
    perform sweep_lapsed(p_kind);
  end if;
  return claim_result(p_kind, p_worker, v_rows, cardinality(v_due) - cardinality(v_rows), v_next, v_waiting);
end
$$;

-- contract: `{"rows": [{"id", "text"}], "next_after": uuid | null}`. The posts that a claim would find among the next
-- `p_scan` after the cursor. It leases nothing.
create or replace function public.peek_work(p_kind text, p_after uuid, p_scan integer, p_rule jsonb)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_free uuid[];
  v_last uuid;
  v_due uuid[];
  v_rows jsonb;
begin
  perform check_rule(p_kind, p_rule);
  select free, last into v_free, v_last from claim_window(p_kind, p_after, p_scan);
  v_due := due_posts(p_kind, v_free, p_rule, null);
  select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'text', p.text) order by p.id), '[]') into v_rows
    from posts p where p.id = any (v_due);
  return jsonb_build_object('rows', v_rows, 'next_after', v_last);
end
$$;

-- contract: `{"due": n, "next_after": uuid | null}`. How many posts a claim would find among the next `p_scan` after the
-- cursor.
create or replace function public.count_work(p_kind text, p_after uuid, p_scan integer, p_rule jsonb)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_free uuid[];
  v_last uuid;
begin
  perform check_rule(p_kind, p_rule);
  select free, last into v_free, v_last from claim_window(p_kind, p_after, p_scan);
  return jsonb_build_object('due', cardinality(due_posts(p_kind, v_free, p_rule, null)), 'next_after', v_last);
end
$$;

-- contract: As `claim_work` of `embed`, with `adopted` for `copied`. Kept for one release.
create or replace function public.claim_embed_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_model text, p_dimensions integer, p_refresh boolean
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select claimed - 'copied' || jsonb_build_object('adopted', claimed -> 'copied')
  from claim_work(
    'embed', p_worker, p_limit, p_lease_seconds, p_after, p_scan,
    jsonb_build_object('model', p_model, 'dimensions', p_dimensions, 'refresh', p_refresh)
  ) as claimed
$$;

-- contract: As `claim_work` of `score`. Kept for one release.
create or replace function public.claim_score_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_mode text, p_fingerprint text, p_before timestamptz
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select claim_work(
    'score', p_worker, p_limit, p_lease_seconds, p_after, p_scan,
    jsonb_build_object('mode', p_mode, 'fingerprint', p_fingerprint, 'before', p_before)
  ) - 'copied'
$$;

-- contract: As `claim_work` of `backfill:DIMENSION`. Kept for one release.
create or replace function public.claim_backfill_work(
  p_worker uuid, p_limit integer, p_lease_seconds integer, p_after uuid, p_scan integer,
  p_dimension text
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select claim_work('backfill:' || p_dimension, p_worker, p_limit, p_lease_seconds, p_after, p_scan, '{}') - 'copied'
$$;

-- contract: As `peek_work` of `embed`. Kept for one release.
create or replace function public.peek_embed_work(
  p_after uuid, p_scan integer, p_model text, p_dimensions integer, p_refresh boolean
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_work(
    'embed', p_after, p_scan,
    jsonb_build_object('model', p_model, 'dimensions', p_dimensions, 'refresh', p_refresh)
  )
$$;

-- contract: As `peek_work` of `score`. Kept for one release.
create or replace function public.peek_score_work(
  p_after uuid, p_scan integer, p_mode text, p_fingerprint text, p_before timestamptz
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_work(
    'score', p_after, p_scan,
    jsonb_build_object('mode', p_mode, 'fingerprint', p_fingerprint, 'before', p_before)
  )
$$;

-- contract: As `peek_work` of `backfill:DIMENSION`. Kept for one release.
create or replace function public.peek_backfill_work(p_after uuid, p_scan integer, p_dimension text)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_work('backfill:' || p_dimension, p_after, p_scan, '{}')
$$;

-- Only the earlier claims and peeks called these.
drop function if exists public.adopt_embeddings(uuid[], text, integer);
drop function if exists public.claim_answer(text, uuid, uuid[], uuid[], uuid, uuid[]);
drop function if exists public.peek_answer(uuid[], uuid);

-- Hosted Supabase grants execute on a new function to anon and authenticated by name.
revoke execute on function
  public.check_rule(text, jsonb),
  public.due_posts(text, uuid[], jsonb, integer),
  public.copy_embeddings(uuid[], text, integer),
  public.claim_result(text, uuid, uuid[], integer, uuid, uuid[]),
  public.claim_work(text, uuid, integer, integer, uuid, integer, jsonb),
  public.peek_work(text, uuid, integer, jsonb)
from public, anon, authenticated;
grant execute on function
  public.check_rule(text, jsonb),
  public.due_posts(text, uuid[], jsonb, integer),
  public.copy_embeddings(uuid[], text, integer),
  public.claim_result(text, uuid, uuid[], integer, uuid, uuid[]),
  public.claim_work(text, uuid, integer, integer, uuid, integer, jsonb),
  public.peek_work(text, uuid, integer, jsonb)
to service_role;
