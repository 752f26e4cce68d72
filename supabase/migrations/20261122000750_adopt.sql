-- A text is paid for once. If another post has the same text and is embedded already, the post gets a copy.

create index if not exists post_embeddings_text_hash_idx on public.post_embeddings (text_hash, model)
  where not stale and text_hash is not null;

-- Replaced by copy_embeddings in 20261125000100_work.
create or replace function public.adopt_embeddings(p_posts uuid[], p_model text, p_dimensions integer)
returns uuid[]
language sql
set search_path = public, extensions, pg_temp
as $$
  with adopted as (
    insert into post_embeddings as e (post_id, embedding, model, dimensions, text_hash)
      select p.id, twin.embedding, twin.model, twin.dimensions, twin.text_hash
      from posts p
        cross join lateral (
          select t.embedding, t.model, t.dimensions, t.text_hash
          from post_embeddings t
          where t.text_hash = text_sha256(p.text) and t.model = p_model and not t.stale
            and t.dimensions = p_dimensions and t.embedding is not null
          limit 1
        ) twin
      where p.id = any (p_posts)
      order by p.id
    on conflict (post_id) do update set
      embedding = excluded.embedding,
      model = excluded.model,
      dimensions = excluded.dimensions,
      text_hash = excluded.text_hash
    returning e.post_id
  )
  select array(
    select id from unnest(p_posts) as given (id) where id not in (select post_id from adopted) order by id
  )
$$;
