-- Weight configs and their scores: a list, and a way to delete the scores of old ones.

-- contract: `[{"id", "name", "weights", "active", "has_scores", "scores": n, "created_at", "created_by"}]`, the newest
-- first. `scores` counts the posts with a score under these weights.
create or replace function public.list_weight_configs()
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object(
        'id', c.id, 'name', c.name, 'weights', c.weights, 'active', c.id is not distinct from active.id,
        'has_scores', coalesce(c.has_scores, false), 'scores', coalesce(stored.scores, 0),
        'created_at', c.created_at, 'created_by', c.created_by
      )
      order by c.created_at desc nulls last, c.id
    ),
    '[]'
  )
  from weight_configs c
    cross join (select active_weight_config() as id) active
    left join (
      select weight_config_id, count(*) as scores from post_scores group by weight_config_id
    ) stored on stored.weight_config_id = c.id
$$;

-- contract: `{"deleted": n, "weight_config_ids": [uuid], "more": boolean}`. Deletes scores under old weights, at most
-- `p_limit` of them. The config in force, the newest `p_keep` of the others and those that a job is writing keep theirs.
-- The configs stay. Call again while `more` is true.
create or replace function public.prune_weight_scores(p_keep integer, p_limit integer)
returns jsonb
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_old uuid[];
  v_deleted integer;
begin
  -- Activations change this row, so none of these configs comes into force while its scores are deleted.
  perform from settings where key = 'active_weight_config_id' for share;
  v_old := array(
    select c.id from weight_configs c
    where c.id is distinct from active_weight_config() and c.recompute_job is null
    order by c.created_at desc nulls last, c.id
    offset greatest(coalesce(p_keep, 0), 0)
  );
  v_old := array(
    select id from unnest(v_old) as old (id)
    where exists (select from post_scores ps where ps.weight_config_id = old.id)
  );
  -- A job that began to write under one of them in the meantime keeps its scores, and none begins from here on.
  v_old := array(
    select id from weight_configs where id = any (v_old) and recompute_job is null order by id for no key update
  );
  update weight_configs set has_scores = false where id = any (v_old);
  delete from post_scores
    where id in (select id from post_scores where weight_config_id = any (v_old) limit p_limit for update skip locked);
  get diagnostics v_deleted = row_count;
  return jsonb_build_object(
    'deleted', v_deleted,
    'weight_config_ids', to_jsonb(v_old),
    'more', exists (select from post_scores where weight_config_id = any (v_old))
  );
end
$$;
