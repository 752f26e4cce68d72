-- Scores that come from a batch, up to a day after their texts were sent.
set lock_timeout = '10s';

-- contract: `{"rows": [{"line", "place", "post_id", "text_hash", "attempts"}], "next_after": n | null}`. The rows of the
-- next `p_lines` lines after line `p_after` that the batch still has leased. A row with attempts is alone in its line.
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
    select page.*, w.attempts from page
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

-- contract: Merges one dimension into stored scores and finishes the leases of `backfill:DIMENSION`. Returns how many it
-- merged. `p_rows` is `[{"post_id", "score", "text_hash"}]`. A score of another text than the stored scores are about is
-- left out; without `text_hash`, every text will do. A worker does not overwrite the score of a post that another worker
-- has leased by now.
create or replace function public.store_dimension(p_worker uuid, p_dimension text, p_rows jsonb)
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_kind constant text := 'backfill:' || p_dimension;
  v_given constant uuid[] := array(select distinct (r ->> 'post_id')::uuid from jsonb_array_elements(p_rows) as r);
  v_locked uuid[];
  v_mine uuid[];
  v_open uuid[];
  v_merged uuid[];
begin
  select coalesce(array_agg(l.post_id), '{}'), coalesce(array_agg(l.post_id) filter (where l.mine), '{}')
    into v_locked, v_mine
    from lock_for_store(v_kind, p_worker, v_given) l;
  v_open := array(
    select locked.id from unnest(v_locked) as locked (id)
    where locked.id = any (v_mine) or exists (
      select from llm_scores s
      where s.post_id = locked.id and jsonb_typeof(s.scores -> p_dimension) is distinct from 'number'
    )
  );
  v_merged := merge_dimension(p_dimension, (
    select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(p_rows) as r
    where (r ->> 'post_id')::uuid = any (v_open) and not exists (
      select from llm_scores s where s.post_id = (r ->> 'post_id')::uuid and s.text_hash <> r ->> 'text_hash'
    )
  ));
  perform finish_work(v_kind, p_worker, v_locked);
  perform release_left_out(v_kind, p_worker, v_given, v_locked);
  return cardinality(v_merged);
end
$$;
