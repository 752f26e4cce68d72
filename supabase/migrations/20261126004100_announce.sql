-- New jobs are announced to workers that listen, so that an idle worker need not ask. `pg_notify` delivers at commit.
set lock_timeout = '10s';

-- internal: Announces that a job became pending. Several within one transaction are one announcement.
create or replace function public.announce_jobs()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  perform pg_notify('sluice_jobs', '');
  return null;
end
$$;

create or replace trigger background_jobs_announce_new
  after insert on public.background_jobs
  for each row when (new.status = 'pending')
  execute function public.announce_jobs();

create or replace trigger background_jobs_announce_pending
  after update of status on public.background_jobs
  for each row when (new.status = 'pending' and old.status is distinct from 'pending')
  execute function public.announce_jobs();

revoke execute on function public.announce_jobs() from public, anon, authenticated;
grant execute on function public.announce_jobs() to service_role;

reset lock_timeout;
