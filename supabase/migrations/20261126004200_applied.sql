-- Which migrations were applied, for `sluice doctor`. The API does not show the schema that they are recorded in.
set lock_timeout = '10s';

-- contract: `[text] | null`. The versions of the migrations that are recorded as applied, where Supabase's CLI records
-- them. Null if nothing is recorded there, or the owner of this function may not read it.
create or replace function public.applied_migrations()
returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if to_regclass('supabase_migrations.schema_migrations') is null then
    return null;
  end if;
  return (select jsonb_agg(version order by version) from supabase_migrations.schema_migrations);
exception when insufficient_privilege then
  return null;
end
$$;

revoke execute on function public.applied_migrations() from public, anon, authenticated;
grant execute on function public.applied_migrations() to service_role;

reset lock_timeout;
