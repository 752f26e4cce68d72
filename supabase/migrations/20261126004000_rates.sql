-- How fast a run goes: `sluice status --watch` shows it beside the limit.
set lock_timeout = '10s';

alter table public.runs add column if not exists rate jsonb;

-- contract: Records a run: its beginning, how far it is, and with an `exit` its end. `p_state` is `{"counts": {},
-- "input_tokens", "cached_tokens", "written_tokens", "output_tokens", "usd": n | null, "rate": {…} | null, "exit": n |
-- null, "spent": {day: dollars}}`. The same call again changes nothing. A run that has ended stays as it is.
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
    rate = nullif(p_state -> 'rate', 'null'),
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
-- "cached_tokens", "written_tokens", "output_tokens", "usd", "rate"}]}`. The money of today and of this month (UTC), and
-- the latest `p_runs` runs. `reserved` is what may be spent beyond `usd`. `rate` is `{"requests_per_minute",
-- "tokens_per_minute", "requests_limit": n | null, "tokens_limit": n | null}` while the run goes on. A run is lost if it
-- has not been heard of for two minutes.
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
        'output_tokens', output_tokens, 'usd', usd, 'rate', rate
      ) order by started_at desc, id), '[]') from latest
    )
  )
$$;

reset lock_timeout;
