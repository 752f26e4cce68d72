-- What a claim would find, without leasing anything. 20261125000100_work replaces these functions by one for each
-- question.

create or replace function public.peek_answer(p_due uuid[], p_next uuid)
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select jsonb_build_object(
    'rows', coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'text', p.text) order by p.id), '[]'),
    'next_after', p_next
  )
  from posts p where p.id = any (p_due)
$$;

create or replace function public.peek_embed_work(
  p_after uuid, p_scan integer, p_model text, p_dimensions integer, p_refresh boolean
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_answer(array(select embed_due(seen.free, p_model, p_dimensions, p_refresh)), seen.last)
  from claim_window('embed', p_after, p_scan) as seen
$$;

create or replace function public.peek_score_work(
  p_after uuid, p_scan integer, p_mode text, p_fingerprint text, p_before timestamptz
)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_answer(array(select score_due(seen.free, p_mode, p_fingerprint, p_before)), seen.last)
  from claim_window('score', p_after, p_scan) as seen
$$;

create or replace function public.peek_backfill_work(p_after uuid, p_scan integer, p_dimension text)
returns jsonb
language sql
set search_path = public, extensions, pg_temp
as $$
  select peek_answer(array(select backfill_due(seen.free, p_dimension)), seen.last)
  from claim_window('backfill:' || p_dimension, p_after, p_scan) as seen
$$;

-- Redefined in 20261125000100_work.
create or replace function public.count_work(p_kind text, p_after uuid, p_scan integer, p_rule jsonb)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
declare
  v_free uuid[];
  v_last uuid;
  v_due bigint;
begin
  select free, last into v_free, v_last from claim_window(p_kind, p_after, p_scan);
  if p_kind = 'embed' then
    select count(*) into v_due
      from embed_due(
        v_free, p_rule ->> 'model', (p_rule ->> 'dimensions')::integer, coalesce((p_rule ->> 'refresh')::boolean, false)
      );
  elsif p_kind = 'score' then
    select count(*) into v_due
      from score_due(v_free, p_rule ->> 'mode', p_rule ->> 'fingerprint', (p_rule ->> 'before')::timestamptz);
  else
    select count(*) into v_due from backfill_due(v_free, p_rule ->> 'dimension');
  end if;
  return jsonb_build_object('due', v_due, 'next_after', v_last);
end
$$;
