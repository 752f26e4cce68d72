-- Optional (`--with cron`): pg_cron enqueues every ten minutes what may be due, for a worker to run. Nothing is enqueued
-- twice, and a job with nothing to do asks the provider for nothing.
--
-- To change when: `select cron.schedule('sluice', '0 * * * *', 'select public.enqueue_due_jobs()')`. To end it:
-- `select cron.unschedule('sluice')`.
set search_path = public, extensions;

do $$
begin
  if to_regnamespace('cron') is null then
    create extension pg_cron;
  end if;
end
$$;

-- contract: Enqueues `embed_posts` and `rescore_all`, each unless one is pending or running. Returns how many it
-- enqueued.
create or replace function public.enqueue_due_jobs()
returns integer
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_enqueued integer;
begin
  insert into background_jobs (type, status, params, created_by, progress)
    select kind, 'pending', '{}', 'cron', 0
    from unnest(array['embed_posts', 'rescore_all']) as kind
    where not exists (select from background_jobs where type = kind and status in ('pending', 'running'));
  get diagnostics v_enqueued = row_count;
  return v_enqueued;
end
$$;

revoke execute on function public.enqueue_due_jobs() from public, anon, authenticated;
grant execute on function public.enqueue_due_jobs() to service_role;

select cron.schedule('sluice', '*/10 * * * *', 'select public.enqueue_due_jobs()');

reset search_path;
