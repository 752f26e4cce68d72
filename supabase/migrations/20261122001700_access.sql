-- Who may do what. Anyone may read what the site shows. Only service_role may write or call a function.
--
-- Row-level security is on for every table. Work items, jobs, passes and staging have no policy for anon or
-- authenticated, so these roles read no row of them, whatever the grants say. Hosted Supabase grants execute on new
-- functions to anon and authenticated by name. Revoking it from public alone would leave the functions callable.

do $$
declare
  v_table text;
  v_function regprocedure;
  v_policy record;
begin
  foreach v_table in array array[
    'neighborhoods', 'posts', 'post_embeddings', 'llm_scores', 'weight_configs', 'post_scores', 'topic_frequencies',
    'settings', 'background_jobs', 'post_scores_staging', 'post_score_chunks', 'score_passes', 'work_items'
  ] loop
    execute format('alter table public.%I enable row level security', v_table);
    execute format('grant select, insert, update, delete on public.%I to service_role', v_table);
  end loop;

  foreach v_table in array array[
    'neighborhoods', 'posts', 'post_embeddings', 'llm_scores', 'weight_configs', 'post_scores', 'topic_frequencies',
    'settings'
  ] loop
    execute format('drop policy if exists sluice_read on public.%I', v_table);
    execute format(
      'create policy sluice_read on public.%I for select to anon, authenticated using (true)', v_table
    );
    execute format('grant select on public.%I to anon, authenticated', v_table);
  end loop;

  -- Jobs carry the server's errors, and staging carries scores that are not active yet.
  for v_policy in
    select tablename, policyname from pg_policies
    where schemaname = 'public'
      and tablename in ('background_jobs', 'post_scores_staging', 'post_score_chunks', 'score_passes', 'work_items')
      and roles && array['anon', 'public']::name[]
  loop
    execute format('drop policy %I on public.%I', v_policy.policyname, v_policy.tablename);
  end loop;
  revoke all
    on public.background_jobs, public.post_scores_staging, public.post_score_chunks, public.score_passes,
      public.work_items
    from anon, authenticated;

  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace
      and proname = any (array[
        'activate_weight_config', 'active_weight_config', 'adopt_embeddings', 'apply_chunks',
        'apply_post_scores_from_staging', 'backfill_due', 'beat_job', 'begin_job', 'begin_score_pass', 'cancel_job',
        'check_claim', 'check_job', 'claim_answer', 'claim_backfill_work', 'claim_cursor', 'claim_embed_work',
        'claim_job', 'claim_score_work', 'claim_window', 'compare_text_hash', 'complete_recompute_job',
        'compute_final_score_runtime', 'count_work', 'embed_due', 'end_score_pass', 'enqueue_job', 'extend_work',
        'fail_job', 'fail_work', 'final_score_of', 'final_scores', 'finish_job', 'finish_work', 'found_limit',
        'get_embedding_backlog_count', 'get_posts_missing_dimension', 'get_posts_without_embeddings',
        'get_score_distribution', 'get_unscored_posts', 'increment_topic_frequencies_batch',
        'increment_topic_frequency', 'insert_staged_scores', 'is_blank', 'job_ending', 'job_held_until',
        'lease_locked', 'lock_found', 'mark_stale_on_text_change', 'merge_dimension',
        'merge_dimension_into_llm_scores', 'novel_score', 'novelty_of', 'open_score_pass', 'own_recompute_job',
        'peek_answer', 'peek_backfill_work', 'peek_embed_work', 'peek_score_work', 'pipeline_status', 'rank_posts',
        'refresh_chunks', 'refresh_topic_frequencies', 'release_job', 'release_work', 'replay_work', 'retry_job',
        'save_and_recompute', 'score_basis', 'score_due', 'score_or_missing', 'search_posts_by_embedding',
        'skip_row_checks', 'stage_chunk', 'stage_post_scores', 'staged_scores', 'store_dimension', 'store_embeddings', 'store_scores',
        'sweep_lapsed', 'text_sha256', 'unpack_novelty', 'unpack_weights', 'update_staged_scores',
        'update_updated_at_column', 'waiting_posts', 'weighted_share', 'weighted_share_sql', 'write_final_scores'
      ])
  loop
    execute format('revoke execute on function %s from public, anon, authenticated', v_function);
    execute format('grant execute on function %s to service_role', v_function);
  end loop;
end
$$;

grant usage on schema public to anon, authenticated, service_role;
