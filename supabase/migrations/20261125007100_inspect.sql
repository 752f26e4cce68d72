-- What `sluice doctor` asks the database about itself.
set search_path = public, extensions;

-- contract: `{"role", "statement_timeout", "pgvector", "dimensions", "missing_functions", "closed_functions",
-- "missing_tables", "open_tables"}`. Which of these functions and tables of `public` do not exist, which functions the
-- caller may not execute, and which tables have no row-level security.
create or replace function public.inspect_project(p_functions text[], p_tables text[])
returns jsonb
language sql stable
set search_path = public, extensions, pg_temp
as $$
  select jsonb_build_object(
    'role', current_user,
    'statement_timeout', current_setting('statement_timeout'),
    'pgvector', (select extversion from pg_extension where extname = 'vector'),
    'dimensions', (
      select nullif(atttypmod, -1) from pg_attribute
      where attrelid = to_regclass('public.post_embeddings') and attname = 'embedding'
    ),
    'missing_functions', (
      select coalesce(jsonb_agg(name order by name), '[]') from unnest(p_functions) as name
      where not exists (select from pg_proc where pronamespace = 'public'::regnamespace and proname = name)
    ),
    'closed_functions', (
      select coalesce(jsonb_agg(distinct proname order by proname), '[]') from pg_proc
      where pronamespace = 'public'::regnamespace and proname = any (p_functions)
        and not has_function_privilege(oid, 'execute')
    ),
    'missing_tables', (
      select coalesce(jsonb_agg(name order by name), '[]') from unnest(p_tables) as name
      where to_regclass(format('public.%I', name)) is null
    ),
    'open_tables', (
      select coalesce(jsonb_agg(relname order by relname), '[]') from pg_class
      where relnamespace = 'public'::regnamespace and relname = any (p_tables) and not relrowsecurity
    )
  )
$$;

revoke execute on function public.inspect_project(text[], text[]) from public, anon, authenticated;
grant execute on function public.inspect_project(text[], text[]) to service_role;

reset search_path;
