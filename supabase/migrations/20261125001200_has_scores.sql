-- Keeps `weight_configs.has_scores` with one update for each statement, not with one for each row.
--
-- The earlier implementation did it with row triggers. A recompute of 20,000 posts updated one row of weight_configs
-- 20,000 times in one transaction, and each update had to go past all versions before it: twice the posts took four
-- times as long. The same happened when a config was deleted.
set lock_timeout = '10s';

-- For the deletion of a weight config, and to count and prune its scores. The key has few values, so an entry is small.
create index if not exists post_scores_weight_config_id_idx on public.post_scores (weight_config_id);

-- internal: Trigger: the weight configs of inserted scores have scores. A config that a job is still writing is left out
-- until the job is complete.
create or replace function public.mark_configs_with_scores()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update weight_configs c set has_scores = true
    where c.has_scores is distinct from true and c.recompute_job is null
      and c.id in (select distinct weight_config_id from inserted);
  return null;
end
$$;

-- internal: Trigger: weight configs whose last score was deleted have none.
create or replace function public.mark_configs_without_scores()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  update weight_configs c set has_scores = false
    where c.has_scores
      and c.id in (select distinct weight_config_id from deleted)
      and not exists (select from post_scores ps where ps.weight_config_id = c.id);
  return null;
end
$$;

-- Replaces the row triggers on post_scores that keep `has_scores`, whatever they are called. Other triggers stay.
do $$
declare
  v_trigger record;
begin
  for v_trigger in
    select t.tgname from pg_trigger t join pg_proc f on f.oid = t.tgfoid
    where t.tgrelid = 'public.post_scores'::regclass and not t.tgisinternal and f.prosrc ~* 'has_scores'
  loop
    execute format('drop trigger %I on public.post_scores', v_trigger.tgname);
  end loop;
end
$$;

create trigger post_scores_inserted
  after insert on public.post_scores
  referencing new table as inserted
  for each statement execute function public.mark_configs_with_scores();

create trigger post_scores_deleted
  after delete on public.post_scores
  referencing old table as deleted
  for each statement execute function public.mark_configs_without_scores();

reset lock_timeout;
