-- get_posts_without_embeddings(lim, after_id): the plain keyset read of the posts to embed.
--
-- The earlier function took only `lim`. If a batch kept failing, it returned the same posts each time. `create or
-- replace` with a second parameter would make an overload, and PostgREST answers PGRST203 to calls of either. So the
-- earlier function is dropped.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select oid from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'get_posts_without_embeddings'
  loop
    execute format('drop function %s', v_function);
  end loop;
end
$$;

-- contract: At most `lim` posts with a text that is not blank and without a current embedding, after `after_id` in the
-- order of their ids. Call again with the last id until the result is empty.
--
-- The lower bound is one that an index can start from, whether `after_id` is given or not. The second condition
-- excludes the cursor itself. The planner can run the lateral sub-select as an index look-up only.
create function public.get_posts_without_embeddings(lim integer, after_id uuid default null)
returns table (id uuid, text text)
language sql stable
set search_path = public, extensions, pg_temp
set enable_seqscan = off
as $$
  select p.id, p.text::text
  from posts p
    left join lateral (
      select true as current from post_embeddings e
      where e.post_id = p.id and e.embedding is not null and not e.stale
      limit 1
    ) e on true
  where p.id >= coalesce(after_id, '00000000-0000-0000-0000-000000000000')
    and p.id is distinct from after_id
    and case when e.current then false else not is_blank(p.text) end
  order by p.id
  limit greatest(lim, 0)
$$;
