-- How functions lock posts: posts first, and without waiting in line.
--
-- A statement that waits in line for a row lock can be part of a deadlock, and then anybody's transaction may be the one
-- that Postgres aborts. So these functions take the locks that are free, sleep a moment and try again. If a post stays
-- locked, they leave it out or give up. Nobody who writes posts ever sees a deadlock because of them.

-- internal: Locks these posts in the order of their ids and returns those that it could lock. Posts that do not exist
-- are left out. Posts that another transaction has locked are tried again for `p_seconds`, then they are left out as
-- well. A locked post cannot be deleted, and with `p_text` its text cannot change, until the transaction ends.
create or replace function public.lock_posts(p_posts uuid[], p_text boolean, p_seconds double precision)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_until constant timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
  v_wanted uuid[] := p_posts;
  v_locked uuid[] := '{}';
  v_now uuid[];
begin
  loop
    if p_text then
      v_now := array(select id from posts where id = any (v_wanted) order by id for share skip locked);
    else
      v_now := array(select id from posts where id = any (v_wanted) order by id for key share skip locked);
    end if;
    v_locked := v_locked || v_now;
    exit when cardinality(v_now) = cardinality(v_wanted);
    v_wanted := array(select p.id from posts p where p.id = any (v_wanted) except select unnest(v_now));
    exit when v_wanted = '{}' or clock_timestamp() >= v_until;
    perform pg_sleep(0.02);
  end loop;
  return v_locked;
end
$$;

-- internal: Locks these posts against deletion, or raises an error if one of them stays locked. Returns the posts that
-- exist.
create or replace function public.lock_all_posts(p_posts uuid[], p_seconds double precision)
returns uuid[]
language plpgsql
set search_path = public, extensions, pg_temp
as $$
declare
  v_locked constant uuid[] := lock_posts(p_posts, false, p_seconds);
begin
  if cardinality(v_locked) < cardinality(p_posts) and exists (
    select from posts where id = any (p_posts) and id <> all (v_locked)
  ) then
    raise exception 'another transaction holds a lock on some of the posts'
      using errcode = '55P03', hint = 'try again when that transaction has ended';
  end if;
  return v_locked;
end
$$;

-- internal: A moment at which no transaction had written scores without having committed. What is written later carries
-- a later `updated_at`.
--
-- The lock waits for writers of scores. The rollback to before it releases it at once.
create or replace function public.moment_without_writers()
returns timestamptz
language plpgsql
set search_path = public, extensions, pg_temp
set lock_timeout = '2s'
as $$
declare
  v_moment timestamptz;
begin
  lock table llm_scores in share mode;
  v_moment := clock_timestamp();
  raise exception 'released' using errcode = 'SL001';
exception when sqlstate 'SL001' then
  return v_moment;
end
$$;
