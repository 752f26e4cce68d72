-- Optional (`--with realtime`): Supabase Realtime announces changes of jobs to those who may read them.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if not exists (
    select from pg_publication_tables
    where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'background_jobs'
  ) then
    alter publication supabase_realtime add table public.background_jobs;
  end if;
end
$$;
