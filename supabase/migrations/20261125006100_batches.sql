-- Batches at the provider: rows that are processed within a day at half the price.
--
-- A batch is recorded here before anything of it is at the provider. Its id is the intent: the provider's batch carries
-- it as metadata, the provider's file in its name, and its rows are leased under it. So any runner can find what a
-- killed one left, and go on.
--
--   state       at the provider
--   packing     nothing
--   uploading   perhaps a file
--   creating    a file, and perhaps a batch
--   submitted   a file and a batch
--   stored      files that are still to be deleted
--   ended       nothing
--
-- Only the holder changes a batch. A hold that is not renewed lapses, and another runner takes the batch.
set lock_timeout = '10s';

create table if not exists public.provider_batches (
  id uuid primary key,
  provider text not null,
  flow text not null,
  kind text not null,
  rule jsonb not null,
  settings jsonb not null,
  state text not null default 'packing'
    check (state in ('packing', 'uploading', 'creating', 'submitted', 'stored', 'ended')),
  provider_state text,
  file_id text,
  batch_id text,
  output_file_id text,
  error_file_id text,
  lines integer not null default 0,
  rows integer not null default 0,
  lines_done integer not null default 0,
  lines_failed integer not null default 0,
  usd_at_most double precision,
  usd double precision,
  reason text,
  created_by text,
  created_at timestamptz not null default clock_timestamp(),
  submitted_at timestamptz,
  ended_at timestamptz,
  holder uuid,
  held_until timestamptz,
  look_at timestamptz not null default clock_timestamp()
);

create index if not exists provider_batches_open_idx on public.provider_batches (look_at) where state <> 'ended';

-- Which rows a line of a batch's file is about, until the batch has ended.
create table if not exists public.provider_batch_rows (
  batch_id uuid not null references public.provider_batches (id) on delete cascade,
  line integer not null,
  place integer not null,
  post_id uuid not null,
  text_hash text not null,
  primary key (batch_id, line, place, post_id)
);

-- internal: Raises an error unless this holder still holds the batch. The row is locked.
create or replace function public.own_batch(p_id uuid, p_holder uuid)
returns public.provider_batches
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_batch provider_batches;
begin
  select * into v_batch from provider_batches where id = p_id for update;
  if v_batch.holder is distinct from p_holder then
    raise exception 'batch % is no longer held by this run', p_id using errcode = '55000';
  end if;
  return v_batch;
end
$$;

-- contract: Records a batch before anything of it is at the provider, held by this run. `p_batch` is `{"provider",
-- "flow", "kind", "rule", "settings", "created_by"}`.
create or replace function public.begin_batch(p_id uuid, p_holder uuid, p_hold_seconds integer, p_batch jsonb)
returns void
language sql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
  insert into provider_batches (id, provider, flow, kind, rule, settings, created_by, holder, held_until)
    values (
      p_id, p_batch ->> 'provider', p_batch ->> 'flow', p_batch ->> 'kind', p_batch -> 'rule', p_batch -> 'settings',
      p_batch ->> 'created_by', p_holder, clock_timestamp() + make_interval(secs => p_hold_seconds)
    )
    on conflict (id) do nothing
$$;

-- contract: Adds the rows of a batch's lines. `p_rows` is `[{"line", "place", "post_id", "text_hash"}]`.
create or replace function public.add_batch_rows(p_id uuid, p_holder uuid, p_rows jsonb)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
begin
  perform own_batch(p_id, p_holder);
  insert into provider_batch_rows (batch_id, line, place, post_id, text_hash)
    select p_id, r.line, r.place, r.post_id, r.text_hash
    from jsonb_to_recordset(p_rows) as r (line integer, place integer, post_id uuid, text_hash text)
    order by r.line, r.place, r.post_id
    on conflict do nothing;
end
$$;

-- contract: Takes the lines from `p_lines` on out of a batch that is being packed. Every row that is leased for the batch
-- and in none of its lines is released.
create or replace function public.cut_batch(p_id uuid, p_holder uuid, p_lines integer)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_batch provider_batches := own_batch(p_id, p_holder);
begin
  delete from provider_batch_rows where batch_id = p_id and line >= p_lines;
  perform release_work(v_batch.kind, p_id, array(
    select w.post_id from work_items w
    where w.kind = v_batch.kind and w.worker = p_id
      and not exists (select from provider_batch_rows r where r.batch_id = p_id and r.post_id = w.post_id)
  ));
end
$$;

-- contract: Deletes the record of a batch that is being packed, and releases its rows.
create or replace function public.forget_batch(p_id uuid, p_holder uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_batch provider_batches;
begin
  select * into v_batch from provider_batches where id = p_id and holder = p_holder and state = 'packing' for update;
  if found then
    perform release_work(v_batch.kind, p_id, null);
    update spending set settled = true where holder = p_id;
    delete from provider_batches where id = p_id;
  end if;
end
$$;

-- contract: Changes a batch that this run holds, and holds it for longer. `p_changes` has the columns to change; an empty
-- one only holds it. A run that no longer holds the batch gets the error 55000.
create or replace function public.change_batch(p_id uuid, p_holder uuid, p_hold_seconds integer, p_changes jsonb)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_batch provider_batches := own_batch(p_id, p_holder);
begin
  v_batch := jsonb_populate_record(v_batch, p_changes);
  update provider_batches set
    state = v_batch.state, provider_state = v_batch.provider_state, file_id = v_batch.file_id,
    batch_id = v_batch.batch_id, output_file_id = v_batch.output_file_id, error_file_id = v_batch.error_file_id,
    lines = v_batch.lines, rows = v_batch.rows, lines_done = v_batch.lines_done, lines_failed = v_batch.lines_failed,
    usd_at_most = v_batch.usd_at_most, usd = v_batch.usd, reason = v_batch.reason,
    submitted_at = case when v_batch.state = 'submitted' then coalesce(submitted_at, clock_timestamp()) end,
    held_until = clock_timestamp() + make_interval(secs => p_hold_seconds)
    where id = p_id;
end
$$;

-- contract: Ends a hold. The batch may be looked at again after `p_look_seconds`.
create or replace function public.leave_batch(p_id uuid, p_holder uuid, p_look_seconds double precision)
returns void
language sql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
  update provider_batches set
    holder = null, held_until = null, look_at = clock_timestamp() + make_interval(secs => p_look_seconds)
    where id = p_id and holder = p_holder
$$;

-- contract: `{"batch": {…} | null, "open": n, "wait_ms": n | null}`. Takes the next batch that nobody holds, as far as
-- one is to be looked at: of this provider, of this kind of work unless it is null, or the batch `p_id`. `open` counts
-- those that have not ended, `wait_ms` is how long until the next of them is to be looked at.
create or replace function public.take_batch(
  p_holder uuid, p_hold_seconds integer, p_provider text, p_kind text, p_id uuid
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_batch provider_batches;
  v_open bigint;
  v_next timestamptz;
begin
  select * into v_batch from provider_batches
    where state <> 'ended' and provider = p_provider and (p_kind is null or kind = p_kind)
      and (p_id is null or id = p_id)
      and (look_at <= clock_timestamp() or p_id is not null)
      and (held_until is null or held_until <= clock_timestamp() or holder = p_holder)
    order by look_at, id
    limit 1
    for update skip locked;
  if found then
    update provider_batches set
      holder = p_holder, held_until = clock_timestamp() + make_interval(secs => p_hold_seconds)
      where id = v_batch.id;
  end if;
  select count(*), min(greatest(look_at, coalesce(held_until, look_at))) into v_open, v_next
    from provider_batches
    where state <> 'ended' and provider = p_provider and (p_kind is null or kind = p_kind)
      and (p_id is null or id = p_id);
  return jsonb_build_object(
    'batch', case when v_batch.id is not null then to_jsonb(v_batch) end,
    'open', v_open,
    'wait_ms', greatest(0, ceil(extract(epoch from v_next - clock_timestamp()) * 1000))::bigint
  );
end
$$;

-- contract: `{"rows": [{"line", "place", "post_id", "text_hash"}], "next_after": n | null}`. The rows of the next
-- `p_lines` lines after line `p_after` that the batch still has leased.
create or replace function public.batch_rows(p_id uuid, p_after integer, p_lines integer)
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  with page as (
    select r.line, r.place, r.post_id, r.text_hash
    from provider_batch_rows r
    where r.batch_id = p_id and r.line > p_after and r.line <= p_after + p_lines
  ), leased as (
    select page.* from page
      join provider_batches b on b.id = p_id
      join work_items w on w.kind = b.kind and w.post_id = page.post_id and w.worker = p_id
  )
  select jsonb_build_object(
    'rows', (
      select coalesce(jsonb_agg(to_jsonb(leased) order by line, place, post_id), '[]') from leased
    ),
    'next_after', case when exists (
      select from provider_batch_rows where batch_id = p_id and line > p_after + p_lines
    ) then p_after + p_lines end
  )
$$;

-- internal: Lets go of what a batch has leased and reserved.
create or replace function public.free_batch(p_id uuid, p_kind text, p_usd double precision)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  perform release_work(p_kind, p_id, null);
  delete from provider_batch_rows where batch_id = p_id;
  update spending set spent = coalesce(p_usd, 0)::numeric, settled = true where holder = p_id;
  if not found and p_usd > 0 then
    insert into spending (day, holder, spent, settled) values (spending_day(), p_id, p_usd::numeric, true);
  end if;
end
$$;

-- contract: Notes that all results of a batch are stored: its other rows are released, and `p_usd` is what it cost. Its
-- files are still to be deleted. A batch that cost nothing has `p_usd` 0.
create or replace function public.store_batch(p_id uuid, p_holder uuid, p_usd double precision, p_reason text)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_batch provider_batches := own_batch(p_id, p_holder);
begin
  if v_batch.state not in ('stored', 'ended') then
    perform free_batch(p_id, v_batch.kind, p_usd);
    update provider_batches set state = 'stored', usd = p_usd, reason = coalesce(p_reason, reason) where id = p_id;
  end if;
end
$$;

-- contract: Ends a batch of which nothing is left at the provider.
create or replace function public.end_batch(p_id uuid, p_holder uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
begin
  if exists (select from provider_batches where id = p_id and state = 'ended') then
    return;
  end if;
  perform own_batch(p_id, p_holder);
  update provider_batches set state = 'ended', ended_at = clock_timestamp(), holder = null, held_until = null
    where id = p_id and state = 'stored';
end
$$;

-- internal: Releases the rows of batches whose runner died before the provider could have a batch of them. Their files
-- are left to the next run that works on batches.
create or replace function public.release_dead_batches(p_kind text)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_id uuid;
begin
  for v_id in
    select id from provider_batches
    where state in ('packing', 'uploading') and kind = p_kind and held_until <= clock_timestamp()
    order by id
    for update skip locked
  loop
    perform free_batch(v_id, p_kind, 0);
    update provider_batches set
      state = 'stored', usd = 0, holder = null, held_until = null,
      reason = 'its runner died before the batch was made; its rows are due again'
      where id = v_id;
  end loop;
end
$$;

-- contract: `[{…}]`. The batches, the newest first: those that have not ended, or all. `p_limit` is how many at most.
create or replace function public.list_batches(p_all boolean, p_limit integer)
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(jsonb_agg(to_jsonb(b) - 'settings' - 'rule' order by created_at desc, id), '[]')
  from (
    select * from provider_batches where p_all or state <> 'ended' order by created_at desc, id limit p_limit
  ) b
$$;

-- internal: The rows of a claim and, at the end of a pass, what else there is of the kind. `p_waiting` are the failing
-- posts that are still due. Rows that are in a batch at the provider are counted apart, because nobody waits for them.
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
  v_in_batches bigint := 0;
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
    select count(*) filter (where b.id is null), count(b.id) into v_elsewhere, v_in_batches
      from work_items w
        left join provider_batches b on b.id = w.worker
      where w.kind = p_kind and w.leased_until > clock_timestamp() and w.worker is distinct from p_worker;
  end if;
  return jsonb_build_object(
    'rows', v_rows,
    'copied', p_copied,
    'next_after', p_next,
    'waiting', v_waiting,
    'next_attempt_ms', case when v_waiting > 0 then
      greatest(0, ceil(extract(epoch from v_next_attempt - clock_timestamp()) * 1000))::bigint
    end,
    'leased_elsewhere', v_elsewhere,
    'in_batches', v_in_batches
  );
end
$$;

-- contract: `{"rows": [{"id", "text", "attempts"}], "copied": n, "locked": n, "next_after": uuid | null, "waiting": n,
-- "next_attempt_ms": n | null, "leased_elsewhere": n, "in_batches": n}`. Leases at most `p_limit` due posts for this
-- worker, among the next `p_scan` posts after the cursor. `copied` counts due posts that got the embedding of another
-- post with the same text. `locked` counts due posts that were left out because another transaction had locked them.
-- `waiting` is at most 1000. `in_batches` counts posts that are in a batch at the provider.
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
  if p_after is null then
    perform release_dead_batches(p_kind);
  end if;
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

alter table public.provider_batches enable row level security;
alter table public.provider_batch_rows enable row level security;

do $$
declare
  v_name text;
  v_function regprocedure;
begin
  foreach v_name in array array['provider_batches', 'provider_batch_rows'] loop
    execute format('revoke all on public.%I from public, anon, authenticated', v_name);
    execute format('grant select, insert, update, delete on public.%I to service_role', v_name);
  end loop;
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = any (array[
      'own_batch', 'begin_batch', 'add_batch_rows', 'cut_batch', 'forget_batch', 'change_batch', 'leave_batch', 'take_batch',
      'batch_rows', 'free_batch', 'store_batch', 'end_batch', 'release_dead_batches', 'list_batches', 'claim_result',
      'claim_work'
    ])
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

reset lock_timeout;
