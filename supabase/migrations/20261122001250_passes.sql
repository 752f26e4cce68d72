-- A forced re-score asks about every post, whatever its score is. What tells which posts it has done is when it began:
-- those that were scored since. So that is kept here until it has ended, and the same command goes on where it was
-- interrupted instead of asking about, and paying for, those posts once more. Runners side by side share one pass.
create table if not exists public.score_passes (
  fingerprint text primary key,
  started_at timestamptz not null,
  ended_at timestamptz
);

-- Begins a pass over every post with this rubric, or goes on with the one that has not ended, unless it is to begin
-- `p_anew`: {"started_at", "resumed"}. The time is the database's, as that of each score is.
create or replace function public.begin_score_pass(p_fingerprint text, p_anew boolean)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_pass score_passes;
  v_resumed boolean := false;
begin
  insert into score_passes (fingerprint, started_at) values (p_fingerprint, clock_timestamp())
    on conflict (fingerprint) do nothing
    returning * into v_pass;
  if not found then
    select * into v_pass from score_passes where fingerprint = p_fingerprint for update;
    v_resumed := v_pass.ended_at is null and not coalesce(p_anew, false);
    if not v_resumed then
      update score_passes set started_at = clock_timestamp(), ended_at = null
        where fingerprint = p_fingerprint
        returning * into v_pass;
    end if;
  end if;
  return jsonb_build_object('started_at', v_pass.started_at, 'resumed', v_resumed);
end
$$;

-- When the pass with this rubric began that has not ended; null where there is none.
create or replace function public.open_score_pass(p_fingerprint text)
returns timestamptz
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select started_at from score_passes where fingerprint = p_fingerprint and ended_at is null
$$;

-- Ends the pass that began then, and returns whether it did: not one that has begun anew since.
create or replace function public.end_score_pass(p_fingerprint text, p_started_at timestamptz)
returns boolean
language sql
set search_path = public, extensions, pg_temp
as $$
  with ended as (
    update score_passes set ended_at = clock_timestamp()
      where fingerprint = p_fingerprint and started_at = p_started_at and ended_at is null
      returning 1
  )
  select exists (select from ended)
$$;
