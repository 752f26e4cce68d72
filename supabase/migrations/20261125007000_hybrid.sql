-- Search by meaning and by words at once.
--
-- The index makes words findable. Like every index it is made under a lock: a table with a million posts takes about a
-- minute. If posts are written all the time, create it before, with `create index concurrently`, under the same name.
set lock_timeout = '10s';
set search_path = public, extensions;

create index if not exists posts_text_words_idx on public.posts using gin (to_tsvector('english', text));

-- contract: The posts that fit a query best by meaning and by words together. `similarity` and `words` are null for a
-- post that was found only the other way.
--
-- Each way ranks its best 200, and a post gets 1 / (60 + rank) from each (reciprocal rank fusion), so neither way needs
-- a scale that fits the other. A post fits if it has any of the words, and more of them rank it higher. Ranks are
-- computed for the newest 5000 posts with such a word. The embedding is a text, because its type and size depend on the
-- project.
create or replace function public.search_posts_hybrid(
  p_query text, p_embedding text, p_limit integer default 10
)
returns table (id uuid, text text, score double precision, similarity double precision, words double precision, url text)
language plpgsql stable
set search_path = public, extensions, pg_temp
as $$
#variable_conflict use_column
declare
  v_words tsquery := replace(plainto_tsquery('english', p_query)::text, '&', '|')::tsquery;
  v_type text := (
    select format_type(atttypid, atttypmod) from pg_attribute
    where attrelid = 'post_embeddings'::regclass and attname = 'embedding'
  );
begin
  return query execute format($query$
    with meaning as (
      select id, similarity, row_number() over (order by similarity desc, id) as place
      from search_posts_by_embedding($1::%s, -1, 200)
    ), word as (
      select id, rank::double precision as words, row_number() over (order by rank desc, id) as place
      from (
        select id, ts_rank_cd(to_tsvector('english', text), $2) as rank
        from (
          select id, text from posts where to_tsvector('english', text) @@ $2 order by created_at desc limit 5000
        ) newest
      ) ranked
      order by rank desc, id
      limit 200
    )
    select p.id, p.text::text, fused.score, fused.similarity, fused.words, p.url::text
    from (
      select id, coalesce(1.0 / (60 + m.place), 0)::double precision + coalesce(1.0 / (60 + w.place), 0) as score,
        m.similarity, w.words
      from meaning m full join word w using (id)
    ) fused
      join posts p on p.id = fused.id
    order by fused.score desc, p.id
    limit greatest($3, 0)
  $query$, v_type) using p_embedding, v_words, p_limit;
end
$$;

revoke execute on function public.search_posts_hybrid(text, text, integer) from public, anon, authenticated;
grant execute on function public.search_posts_hybrid(text, text, integer) to service_role;

reset search_path;
reset lock_timeout;
