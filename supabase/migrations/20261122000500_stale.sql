-- When a text changes, its embedding and its score are stale at once. No claim has to hash the table for that.
--
-- Two triggers do this. The first runs when a text changes, and marks what was made from the old text. The second runs
-- when an embedding or a score is written. It compares the hash of the text that it was made from with the post, so a
-- text that changed during the request is stale from the start. The second trigger locks the post for share before it
-- reads. So if both run at once, one of them sees the other's change.

-- internal: Trigger on posts: marks the embedding and the score of a changed text as stale.
create or replace function public.mark_stale_on_text_change()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_hash text := text_sha256(new.text);
begin
  update post_embeddings e
    set stale = e.text_hash is distinct from v_hash
    where e.post_id = new.id and e.stale is distinct from (e.text_hash is distinct from v_hash);
  update llm_scores s
    set stale = s.text_hash is distinct from v_hash
    where s.post_id = new.id and s.stale is distinct from (s.text_hash is distinct from v_hash);
  return null;
end
$$;

-- internal: Trigger on embeddings and scores: marks a row as stale if its `text_hash` is not the post's. A row without
-- a hash counts as current.
create or replace function public.compare_text_hash()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_text text;
begin
  new.stale := false;
  if new.text_hash is not null then
    select p.text into v_text from posts p where p.id = new.post_id for share;
    new.stale := found and new.text_hash <> text_sha256(v_text);
  end if;
  return new;
end
$$;

-- internal: Trigger: sets `updated_at`. The earlier implementation has a function of this name.
--
-- The time is clock_timestamp(), so rows of one transaction get different times.
create or replace function public.update_updated_at_column()
returns trigger
language plpgsql
set search_path = public, extensions, pg_temp
as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end
$$;

create or replace trigger posts_mark_stale
  after update of text on public.posts
  for each row when (old.text is distinct from new.text)
  execute function public.mark_stale_on_text_change();

create or replace trigger post_embeddings_compare_text_hash
  before insert or update of embedding, text_hash on public.post_embeddings
  for each row execute function public.compare_text_hash();

create or replace trigger llm_scores_compare_text_hash
  before insert or update of scores, text_hash on public.llm_scores
  for each row execute function public.compare_text_hash();

create or replace trigger post_embeddings_touch
  before insert or update on public.post_embeddings
  for each row execute function public.update_updated_at_column();

create or replace trigger llm_scores_touch
  before insert or update on public.llm_scores
  for each row execute function public.update_updated_at_column();
