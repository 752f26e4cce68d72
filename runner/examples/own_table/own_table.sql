-- A table of your own, its embeddings beside it, and what is due of it.

create table recipes (
  id uuid primary key default gen_random_uuid(),
  title text not null unique,
  steps text not null
);

create table recipe_embeddings (
  recipe_id uuid primary key references recipes (id) on delete cascade,
  embedding extensions.vector(1536),
  -- Why it has no embedding and gets none.
  refused text,
  check (num_nonnulls(embedding, refused) = 1)
);

create view recipes_due with (security_invoker = true) as
  select r.id, r.steps
  from recipes r
  where not exists (select from recipe_embeddings e where e.recipe_id = r.id);

alter table recipes enable row level security;
alter table recipe_embeddings enable row level security;
grant all on recipes, recipe_embeddings, recipes_due to service_role;
