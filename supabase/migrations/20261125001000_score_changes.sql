-- Finds the scores that changed since a moment, without reading the whole table.
--
-- A recompute asks for them at its cut-over, while writers of scores wait. `updated_at` is set by a trigger at each
-- write. Rows from before that column have null: they have not changed since.
set lock_timeout = '10s';

create index if not exists llm_scores_updated_at_idx on public.llm_scores (updated_at);

reset lock_timeout;
