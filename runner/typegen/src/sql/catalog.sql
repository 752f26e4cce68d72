-- What types are made from, as one JSON object. It is one statement, so that it sees one state of the database.
select json_build_object(
  'schemas', (
    select coalesce(json_agg(nspname), '[]'::json) from pg_namespace where nspname = any (:schemas)
  ),
  'relations', (:relations),
  'functions', (:functions),
  'types', (:types)
)::text as catalog
