-- Optional (`--with triggers`): new and changed posts enqueue a job that embeds them, so a running worker does the rest.
--
-- However many posts are written, at most one such job is pending. The job is added when the writer commits, so that
-- writers wait for each other only for that moment, and no worker can finish it before their posts are there to be seen.
set lock_timeout = '10s';
set search_path = public, extensions;

-- One row for each transaction that wrote posts, until it commits.
create table if not exists public.post_change_marks (id bigint generated always as identity primary key);
alter table public.post_change_marks enable row level security;
revoke all on public.post_change_marks from anon, authenticated;

-- internal: Notes that this transaction wrote posts. It is a definer's function, because whoever may write posts needs no
-- right on the notes and on the jobs.
create or replace function public.mark_post_change()
returns trigger
language plpgsql security definer
set search_path = public, extensions, pg_temp
as $$
declare
  v_transaction text := pg_current_xact_id()::text;
begin
  -- An insert of nothing but duplicates adds no post.
  if tg_op = 'INSERT' then
    if not exists (select from added) then
      return null;
    end if;
  end if;
  if current_setting('sluice.marked_change', true) is distinct from v_transaction then
    perform set_config('sluice.marked_change', v_transaction, true);
    insert into post_change_marks default values;
  end if;
  return null;
end
$$;

-- internal: Enqueues `embed_posts`, unless one is pending. A pending job is kept from workers until this transaction is
-- committed, because they would not see its posts.
create or replace function public.enqueue_changed_posts()
returns trigger
language plpgsql security definer
set search_path = public, extensions, pg_temp
as $$
begin
  delete from post_change_marks where id = new.id;
  -- Whoever enqueues first commits at once. Then the others see its job.
  perform pg_advisory_xact_lock(hashtextextended('sluice: enqueue_changed_posts', 0));
  perform from background_jobs where type = 'embed_posts' and status = 'pending' for share skip locked;
  if not found then
    insert into background_jobs (type, status, params, created_by, progress)
      values ('embed_posts', 'pending', '{}', 'trigger', 0);
  end if;
  return null;
end
$$;

revoke execute on function public.mark_post_change() from public, anon, authenticated;
revoke execute on function public.enqueue_changed_posts() from public, anon, authenticated;

drop trigger if exists posts_mark_new on public.posts;
create trigger posts_mark_new after insert on public.posts referencing new table as added
  for each statement execute function public.mark_post_change();
drop trigger if exists posts_mark_changed on public.posts;
create trigger posts_mark_changed after update of text on public.posts
  for each row when (old.text is distinct from new.text) execute function public.mark_post_change();
drop trigger if exists post_change_marks_enqueue on public.post_change_marks;
create constraint trigger post_change_marks_enqueue after insert on public.post_change_marks
  deferrable initially deferred for each row execute function public.enqueue_changed_posts();

reset search_path;
reset lock_timeout;
