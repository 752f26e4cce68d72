-- Runs and their money: who ran what, when and with what result, and one budget for all runners and flows.
--
-- Money is reserved before it is spent, a block at a time. What a holder (a run or a batch) has reserved for a day counts
-- in full until the holder says what it has really spent. A run that dies never says it, so its reservation stays: more
-- was not spent, and how much less is not known.
set lock_timeout = '10s';

create table if not exists public.runs (
  id uuid primary key,
  host text,
  flow text not null,
  started_at timestamptz not null default clock_timestamp(),
  beat_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  exit integer,
  counts jsonb not null default '{}',
  input_tokens bigint not null default 0,
  cached_tokens bigint not null default 0,
  written_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  usd double precision
);

create index if not exists runs_started_at_idx on public.runs (started_at);

-- A day is one of UTC. The holder is a run or a batch.
create table if not exists public.spending (
  day date not null,
  holder uuid not null,
  reserved numeric not null default 0,
  spent numeric not null default 0,
  settled boolean not null default false,
  primary key (day, holder)
);

-- internal: The day by which money is counted.
create or replace function public.spending_day()
returns date
language sql volatile
set search_path = public, extensions, pg_temp
as $$
  select (clock_timestamp() at time zone 'UTC')::date
$$;

-- internal: What counts of the money of these days, except what this holder has for today: what is spent, and what may
-- still be.
create or replace function public.used_since(p_since date, p_except uuid)
returns numeric
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(sum(case when settled then spent else greatest(reserved, spent) end), 0)
  from spending
  where day >= p_since and not (day = spending_day() and holder is not distinct from p_except)
$$;

-- contract: `{"day": date, "ends_ms": n, "reserved": n, "used": n, "full": null | "day" | "month"}`. Raises what this
-- holder has reserved for today to `p_want` dollars, or to what is left of the budgets if that is at least `p_need`.
-- Both are totals of the holder, so the same call again changes nothing. If `p_day` is not today, it only returns the
-- day and what is reserved for it. `full` names the budget that stands in the way, `used` is what counts against it
-- besides this holder.
create or replace function public.reserve_budget(
  p_holder uuid, p_day date, p_need double precision, p_want double precision,
  p_usd_per_day double precision, p_usd_per_month double precision
)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_today date;
  v_reserved numeric;
  v_day numeric;
  v_month numeric;
  v_grant numeric;
  v_full text;
begin
  -- One reservation at a time. Each statement after this one sees what the others have committed.
  perform pg_advisory_xact_lock(hashtextextended('sluice.spending', 0));
  v_today := spending_day();
  select coalesce(max(reserved), 0) into v_reserved from spending where day = v_today and holder = p_holder;
  if p_day = v_today then
    v_day := used_since(v_today, p_holder);
    v_month := used_since(date_trunc('month', v_today)::date, p_holder);
    v_grant := least(p_want::numeric, p_usd_per_day::numeric - v_day, p_usd_per_month::numeric - v_month);
    if v_grant < p_need::numeric then
      v_full := case when p_usd_per_day::numeric - v_day < p_need::numeric then 'day' else 'month' end;
    elsif v_grant > v_reserved then
      v_reserved := v_grant;
      insert into spending as s (day, holder, reserved) values (v_today, p_holder, v_grant)
        on conflict (day, holder) do update set reserved = excluded.reserved, settled = false;
    end if;
  end if;
  return jsonb_build_object(
    'day', v_today,
    'ends_ms', ceil(
      extract(epoch from (v_today + 1)::timestamp at time zone 'UTC' - clock_timestamp()) * 1000
    )::bigint,
    'reserved', v_reserved,
    'used', case when v_full = 'month' then v_month else v_day end,
    'full', v_full
  );
end
$$;

-- contract: Records what a holder has spent on each day, in dollars. `p_spent` is `{day: dollars}`. With `p_settled` the
-- holder spends no more: what it has reserved and not spent is free again.
create or replace function public.record_spending(p_holder uuid, p_spent jsonb, p_settled boolean)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
begin
  insert into spending as s (day, holder, spent, settled)
    select key::date, p_holder, value::numeric, p_settled from jsonb_each_text(p_spent) order by key
    on conflict (day, holder) do update set
      spent = greatest(s.spent, excluded.spent), settled = s.settled or excluded.settled;
  if p_settled then
    update spending set settled = true where holder = p_holder and not settled;
  end if;
end
$$;

-- contract: Records a run: its beginning, how far it is, and with an `exit` its end. `p_state` is `{"counts": {},
-- "input_tokens", "cached_tokens", "written_tokens", "output_tokens", "usd": n | null, "exit": n | null, "spent": {day:
-- dollars}}`. The same call again changes nothing. A run that has ended stays as it is.
create or replace function public.record_run(p_id uuid, p_flow text, p_host text, p_state jsonb)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '10s'
as $$
declare
  v_exit constant integer := (p_state ->> 'exit')::integer;
begin
  insert into runs (id, flow, host) values (p_id, p_flow, p_host) on conflict (id) do nothing;
  update runs set
    beat_at = clock_timestamp(),
    counts = coalesce(p_state -> 'counts', counts),
    input_tokens = coalesce((p_state ->> 'input_tokens')::bigint, input_tokens),
    cached_tokens = coalesce((p_state ->> 'cached_tokens')::bigint, cached_tokens),
    written_tokens = coalesce((p_state ->> 'written_tokens')::bigint, written_tokens),
    output_tokens = coalesce((p_state ->> 'output_tokens')::bigint, output_tokens),
    usd = (p_state ->> 'usd')::double precision,
    exit = v_exit,
    ended_at = case when v_exit is not null then clock_timestamp() end
    where id = p_id and ended_at is null;
  if found then
    perform record_spending(p_id, coalesce(p_state -> 'spent', '{}'), v_exit is not null);
  end if;
end
$$;

-- contract: `{"today": {"day", "usd", "reserved"}, "month": {"month", "usd", "reserved"}, "runs": [{"id", "flow",
-- "host", "state": "running" | "lost" | "ended", "exit", "started_at", "ended_at", "counts", "input_tokens",
-- "cached_tokens", "written_tokens", "output_tokens", "usd"}]}`. The money of today and of this month (UTC), and the
-- latest `p_runs` runs. `reserved` is what may be spent beyond `usd`. A run is lost if it has not been heard of for two
-- minutes.
create or replace function public.run_status(p_runs integer)
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  with month as (
    select day, spent, case when settled then 0 else greatest(reserved - spent, 0) end as reserved
    from spending
    where day >= date_trunc('month', spending_day())::date
  ), latest as (
    select * from runs order by started_at desc, id limit p_runs
  )
  select jsonb_build_object(
    'today', (
      select jsonb_build_object(
        'day', spending_day(), 'usd', coalesce(sum(spent), 0), 'reserved', coalesce(sum(reserved), 0)
      ) from month where day = spending_day()
    ),
    'month', (
      select jsonb_build_object(
        'month', to_char(spending_day(), 'YYYY-MM'), 'usd', coalesce(sum(spent), 0),
        'reserved', coalesce(sum(reserved), 0)
      ) from month
    ),
    'runs', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'id', id, 'flow', flow, 'host', host,
        'state', case
          when ended_at is not null then 'ended'
          when beat_at < clock_timestamp() - interval '2 minutes' then 'lost'
          else 'running'
        end,
        'exit', exit, 'started_at', started_at, 'ended_at', ended_at, 'counts', counts,
        'input_tokens', input_tokens, 'cached_tokens', cached_tokens, 'written_tokens', written_tokens,
        'output_tokens', output_tokens, 'usd', usd
      ) order by started_at desc, id), '[]') from latest
    )
  )
$$;

alter table public.runs enable row level security;
alter table public.spending enable row level security;

do $$
declare
  v_name text;
  v_function regprocedure;
begin
  foreach v_name in array array['runs', 'spending'] loop
    execute format('revoke all on public.%I from public, anon, authenticated', v_name);
    execute format('grant select, insert, update, delete on public.%I to service_role', v_name);
  end loop;
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = any (array[
      'spending_day', 'used_since', 'reserve_budget', 'record_spending', 'record_run', 'run_status'
    ])
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

reset lock_timeout;
