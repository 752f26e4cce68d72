-- Who may do what, in full: anon and authenticated read what the site shows. They write nothing and call nothing.
--
-- Hosted Supabase grants every privilege on a new table and a new function to anon and authenticated. Row-level security
-- holds back INSERT, UPDATE and DELETE, but not TRUNCATE. So each of these grants is taken back, from our tables, from
-- the functions over them (the earlier implementation's too), and from what is created later.
set lock_timeout = '10s';

do $$
declare
  v_tables constant text[] := array[
    'neighborhoods', 'posts', 'post_embeddings', 'llm_scores', 'weight_configs', 'post_scores', 'topic_frequencies',
    'settings', 'background_jobs', 'post_scores_staging', 'post_score_chunks', 'score_passes', 'work_items'
  ];
  -- Posts are left to the next migration.
  v_readable constant text[] := array[
    'neighborhoods', 'llm_scores', 'post_embeddings', 'weight_configs', 'post_scores', 'topic_frequencies', 'settings'
  ];
  v_table text;
  v_function regprocedure;
  v_policy record;
begin
  -- Policies of the earlier implementation that say what ours says: everybody may read. Two are checked twice.
  for v_policy in
    select tablename, policyname from pg_policies
    where schemaname = 'public' and tablename = any (v_tables) and policyname <> 'sluice_read'
      and cmd = 'SELECT' and qual = 'true' and roles <@ array['anon', 'authenticated']::name[]
  loop
    execute format('drop policy %I on public.%I', v_policy.policyname, v_policy.tablename);
  end loop;

  foreach v_table in array v_tables loop
    execute format('revoke all on public.%I from public, anon, authenticated', v_table);
    execute format('grant select, insert, update, delete on public.%I to service_role', v_table);
  end loop;
  foreach v_table in array v_readable loop
    execute format('grant select on public.%I to anon, authenticated', v_table);
  end loop;

  -- A function is over our tables if its definition names one of them, or if it is a trigger on one.
  for v_function in
    select p.oid from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p') and pg_has_role(p.proowner, 'member')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
  loop
    if pg_get_functiondef(v_function) ~ format('\m(%s)\M', array_to_string(v_tables, '|'))
      or exists (
        select from pg_trigger t join pg_class c on c.oid = t.tgrelid
        where t.tgfoid = v_function and c.relnamespace = 'public'::regnamespace and c.relname = any (v_tables)
      )
      -- The helpers of ours that name no table.
      or (select proname from pg_proc where oid = v_function) = any (array[
        'check_claim', 'check_rule', 'claim_backfill_work', 'claim_cursor', 'claim_embed_work', 'claim_score_work',
        'claim_work', 'compute_final_score_runtime', 'count_locked', 'count_work', 'due_posts', 'estimate_rows',
        'estimate_values', 'final_score_of', 'found_limit', 'is_blank', 'merge_dimension_into_llm_scores',
        'most_posts_in_place', 'most_scores_counted', 'novel_score', 'novelty_of', 'peek_backfill_work',
        'peek_embed_work', 'peek_score_work', 'score_or_missing', 'summarize_values', 'text_sha256', 'unpack_novelty',
        'unpack_weights', 'update_updated_at_column', 'weighted_share', 'weighted_share_sql'
      ])
    then
      execute format('revoke execute on function %s from public, anon, authenticated', v_function);
      execute format('grant execute on function %s to service_role', v_function);
    end if;
  end loop;
end
$$;

-- What this role creates later. A site that reads a table of its own with the publishable key grants that itself.
alter default privileges in schema public revoke all on tables from anon, authenticated;
alter default privileges in schema public revoke all on sequences from anon, authenticated;
alter default privileges in schema public revoke all on functions from anon, authenticated;
alter default privileges revoke execute on functions from public;

reset lock_timeout;
