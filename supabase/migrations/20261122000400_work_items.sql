-- Leases on posts: who works on which post until when, and which posts keep failing.
--
-- A row exists only while a post is leased or failing. So the table stays small, however many posts are done. Kinds
-- are `embed`, `score` and `backfill:DIMENSION`.
create table if not exists public.work_items (
  kind text not null,
  post_id uuid not null references public.posts (id) on delete cascade,
  worker uuid,
  leased_until timestamptz,
  attempts integer not null default 0,
  next_attempt_at timestamptz,
  last_error text,
  dead boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (kind, post_id)
);

-- For the deletion of a post, which finds its work items by post alone.
create index if not exists work_items_post_id_idx on public.work_items (post_id);
