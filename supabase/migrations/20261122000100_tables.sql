-- The tables for posts, embeddings, scores and jobs.
--
-- This applies to an empty project and to one that the earlier implementation created and filled. It leaves what is
-- there as it is, and adds what we need besides.

-- Hosted Supabase keeps extensions in their own schema. If `vector` is installed in another schema already, it stays
-- there. Each function of ours that needs its type or operators looks in both places.
create schema if not exists extensions;
grant usage on schema extensions to anon, authenticated, service_role;
create extension if not exists vector with schema extensions;
set search_path = public, extensions;

create table if not exists public.neighborhoods (
  id uuid primary key default gen_random_uuid(),
  name varchar(255) not null,
  slug varchar(255) not null unique,
  is_active boolean default true,
  weight_modifier double precision default 1.0,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

create table if not exists public.posts (
  id uuid primary key default gen_random_uuid(),
  neighborhood_id uuid not null references public.neighborhoods (id),
  post_id_ext varchar(255) not null,
  user_id_hash varchar(64),
  author_name text,
  text text not null,
  hash varchar(64) not null,
  url varchar(512),
  image_urls jsonb default '[]'::jsonb,
  comments jsonb default '[]'::jsonb,
  reaction_count integer default 0,
  posted_at timestamptz,
  created_at timestamptz default now(),
  used_on_episode boolean default false,
  saved boolean default false,
  ignored boolean default false,
  text_search tsvector,
  unique (neighborhood_id, hash)
);

create table if not exists public.post_embeddings (
  id uuid primary key default gen_random_uuid(),
  post_id uuid not null unique references public.posts (id) on delete cascade,
  embedding vector(1536),
  model varchar(50) default 'text-embedding-3-small',
  created_at timestamptz default now()
);

create table if not exists public.llm_scores (
  id uuid primary key default gen_random_uuid(),
  post_id uuid not null unique references public.posts (id) on delete cascade,
  scores jsonb not null,
  categories text[] not null default '{}',
  summary text,
  why_podcast_worthy text,
  final_score double precision,
  model_version text,
  prompt_version text,
  created_at timestamptz default now()
);

create table if not exists public.weight_configs (
  id uuid primary key default gen_random_uuid(),
  weights jsonb not null,
  name text,
  description text,
  is_active boolean default false,
  has_scores boolean default false,
  created_at timestamptz default now(),
  created_by text
);

create table if not exists public.post_scores (
  id uuid primary key default gen_random_uuid(),
  post_id uuid not null references public.posts (id) on delete cascade,
  weight_config_id uuid not null references public.weight_configs (id) on delete cascade,
  final_score double precision not null,
  computed_at timestamptz default now(),
  unique (post_id, weight_config_id)
);

create table if not exists public.topic_frequencies (
  id uuid primary key default gen_random_uuid(),
  category text not null unique,
  count_30d integer default 0,
  last_updated timestamptz default now()
);

create table if not exists public.settings (
  id uuid primary key default gen_random_uuid(),
  key varchar(100) not null unique,
  value jsonb not null,
  updated_at timestamptz default now()
);

create table if not exists public.background_jobs (
  id uuid primary key default gen_random_uuid(),
  type text not null,
  status text not null check (status in ('pending', 'running', 'completed', 'error', 'cancelled')),
  params jsonb,
  progress integer,
  total integer,
  error_message text,
  retry_count integer default 0,
  max_retries integer default 3,
  last_retry_at timestamptz,
  created_by text,
  created_at timestamptz default now(),
  started_at timestamptz,
  updated_at timestamptz default now(),
  completed_at timestamptz,
  cancelled_at timestamptz,
  cancelled_by text
);

create table if not exists public.post_scores_staging (
  id uuid primary key default gen_random_uuid(),
  job_id uuid not null references public.background_jobs (id) on delete cascade,
  post_id uuid not null references public.posts (id) on delete cascade,
  weight_config_id uuid not null references public.weight_configs (id) on delete cascade,
  final_score double precision not null,
  computed_at timestamptz default now(),
  unique (job_id, post_id)
);

-- What a post was embedded from. Rows from before these columns count as current, because their hash and size are
-- unknown.
alter table public.post_embeddings
  add column if not exists dimensions integer,
  add column if not exists text_hash text,
  add column if not exists stale boolean not null default false,
  add column if not exists updated_at timestamptz;

-- What a post was scored with, and when. `created_at` remains the time of its first score.
alter table public.llm_scores
  add column if not exists fingerprint text,
  add column if not exists text_hash text,
  add column if not exists stale boolean not null default false,
  add column if not exists scored_at timestamptz,
  add column if not exists updated_at timestamptz;

-- Who runs a job, and until when. `basis` is what a running recompute computes with. The first chunk of the job
-- freezes it.
alter table public.background_jobs
  add column if not exists worker uuid,
  add column if not exists leased_until timestamptz,
  add column if not exists next_attempt_at timestamptz,
  add column if not exists activate_on_completion boolean,
  add column if not exists basis jsonb;

-- Recomputed scores until their cut-over, thousands of posts in each row. `post_scores_staging` has a row for each
-- post, three foreign keys and two indexes: writing to it took longer than computing the scores. `after` is the cursor
-- at which the chunk begins. Storage is `external` because compressing the arrays takes longer than writing them as
-- they are.
create table if not exists public.post_score_chunks (
  job_id uuid not null references public.background_jobs (id) on delete cascade,
  after uuid not null,
  post_ids uuid[] not null,
  final_scores double precision[] not null,
  computed_at timestamptz not null,
  primary key (job_id, after)
);
alter table public.post_score_chunks
  alter column post_ids set storage external, alter column final_scores set storage external;

-- A recompute updates the score of every post. If its page has room, the new version needs no new index entries.
alter table public.post_scores set (fillfactor = 50);

create index if not exists background_jobs_open_idx on public.background_jobs (created_at)
  where status in ('pending', 'running');

-- The earlier implementation has this index under another name. Building a second one would double the cost of every
-- write.
--
-- This index is most of the cost of storing an embedding. With half the default number of links it costs a quarter.
-- The wider search in search_posts_by_embedding more than makes up for what is lost.
do $$
begin
  if not exists (
    select from pg_index i
      join pg_class c on c.oid = i.indexrelid
      join pg_am a on a.oid = c.relam
    where i.indrelid = 'public.post_embeddings'::regclass and a.amname = 'hnsw'
  ) then
    create index post_embeddings_embedding_hnsw_idx
      on public.post_embeddings using hnsw (embedding vector_cosine_ops)
      with (m = 8, ef_construction = 40);
  end if;
end
$$;

reset search_path;
