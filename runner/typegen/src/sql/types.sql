-- Every type that a column or an argument can have, as one JSON array; who reads it takes those that are used.
--
-- The row types of the system's own tables are left out: nothing of ours has such a column.
select coalesce(json_agg(found), '[]'::json)
from (
  select
    t.oid::bigint as id,
    n.nspname as schema,
    t.typname as name,
    t.typtype::text as kind,
    case when t.typcategory = 'A' then t.typelem::bigint else 0 end as element,
    t.typbasetype::bigint as base,
    t.typnotnull as not_null,
    t.typdefault is not null as has_default,
    obj_description(t.oid, 'pg_type') as comment,
    (
      select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]'::json)
      from pg_enum e
      where e.enumtypid = t.oid
    ) as labels,
    (
      select coalesce(json_agg(json_build_object(
        'name', a.attname,
        'type_id', a.atttypid::bigint,
        'comment', col_description(c.oid, a.attnum)
      ) order by a.attnum), '[]'::json)
      from pg_attribute a
      where a.attrelid = c.oid and c.relkind = 'c' and a.attnum > 0 and not a.attisdropped
    ) as attributes,
    coalesce(c.relkind <> 'c', false) as is_row
  from pg_type t
  join pg_namespace n on n.oid = t.typnamespace
  left join pg_class c on c.oid = t.typrelid
  where c.oid is null or n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
) found
