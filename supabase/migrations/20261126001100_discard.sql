-- A job that goes away looks for its scores once.
--
-- They were looked for in a subquery, and with some statistics the planner ran it again for each score of the table. To
-- delete a job then took minutes with 200,000 scores.
set lock_timeout = '10s';

-- internal: Deletes what a job staged that will not go on: its chunks, and the scores that it wrote under a weight config
-- that is not in force. Of very many scores it leaves some, which nobody reads. The next job for these weights, or
-- prune_weight_scores, takes them.
create or replace function public.discard_recompute(p_job_id uuid)
returns void
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_configs uuid[];
begin
  delete from post_score_chunks where job_id = p_job_id;
  -- Locked before its scores, as by somebody who deletes it.
  v_configs := array(select id from weight_configs where recompute_job = p_job_id for no key update);
  if v_configs = '{}' then
    return;
  end if;
  delete from post_scores where id = any (array(
    select id from post_scores
    where weight_config_id = any (array_remove(v_configs, active_weight_config()))
    limit most_posts_in_place()
    for update skip locked
  ));
  update weight_configs set recompute_job = null where id = any (v_configs);
end
$$;

reset lock_timeout;
