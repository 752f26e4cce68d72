-- A changed text makes its embedding and its score stale, at once and without hashing the table at each claim.
--
-- Two triggers meet here. One runs when a text changes and marks what was made from the old one. The other runs when an
-- embedding or a score is written and compares the hash of the text that it was made from with the post: a text that
-- changed while it was at the provider is stale from the start. The second one locks the post for share before it
-- reads, so that of two such transactions one always sees the other.

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

-- A row without a hash comes from a writer that knows none, and counts as current.
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

-- The earlier implementation's trigger function, kept under its name. The time is the clock's and not the
-- transaction's, so that of rows written together the later one is later.
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
