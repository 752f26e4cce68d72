-- When a score or an embedding is stale: two cases that were missed.

-- internal: Trigger on posts: marks the embedding and the score of a changed text as stale.
--
-- It updates the rows even if they are stale already. So it waits for a transaction that writes them, or that one waits
-- for this, and the later of the two sees the new text.
create or replace function public.mark_stale_on_text_change()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_hash text := text_sha256(new.text);
begin
  update post_embeddings e set stale = e.text_hash is distinct from v_hash where e.post_id = new.id;
  update llm_scores s set stale = s.text_hash is distinct from v_hash where s.post_id = new.id;
  return null;
end
$$;

-- internal: Trigger on embeddings and scores: marks a row as stale if its `text_hash` is not the post's. A row without
-- a hash counts as current, until the text changes. Then it is stale until it is made again.
--
-- A new row locks its post, because the other trigger does not see it before it is committed. An updated row is locked
-- itself, which is enough.
create or replace function public.compare_text_hash()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_text text;
begin
  if new.text_hash is not null then
    if tg_op = 'INSERT' then
      select p.text into v_text from posts p where p.id = new.post_id for share;
    else
      select p.text into v_text from posts p where p.id = new.post_id;
    end if;
    new.stale := found and new.text_hash <> text_sha256(v_text);
  elsif tg_op = 'INSERT' then
    new.stale := false;
  elsif tg_table_name = 'llm_scores' and to_jsonb(new) - array['scores', 'final_score', 'stale', 'updated_at']
    = to_jsonb(old) - array['scores', 'final_score', 'stale', 'updated_at']
  then
    -- Only one dimension was merged, or a final score was written: the rest is of the text before.
    new.stale := old.stale;
  else
    new.stale := false;
  end if;
  return new;
end
$$;
