-- A forced re-score goes over every post, whatever its score is. It tells what it has done by when it began: posts
-- scored since then are done. So the beginning is kept here until the pass ends. If the pass is interrupted, the same
-- command continues it and does not pay for those posts again. Runners side by side share one pass.
create table if not exists public.score_passes (
  fingerprint text primary key,
  started_at timestamptz not null,
  ended_at timestamptz
);

-- contract: `{"started_at": timestamptz, "resumed": boolean}`. Begins a pass over every post with this rubric. An
-- unfinished pass is resumed, unless `p_anew` is true. The time is the database's, like the time of each score.
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

-- contract: When the unfinished pass with this rubric began, or null.
create or replace function public.open_score_pass(p_fingerprint text)
returns timestamptz
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select started_at from score_passes where fingerprint = p_fingerprint and ended_at is null
$$;

-- contract: Ends the pass that began at `p_started_at`. Returns whether it did: a pass that was begun again since is
-- not ended.
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
