-- The tables and views of the chosen schemas, each with its columns and foreign keys, as one JSON array.
--
-- Partitions are left out, as PostgREST leaves them out, and so is what belongs to an extension.
select coalesce(json_agg(found), '[]'::json)
from (
  select
    n.nspname as schema,
    c.relname as name,
    c.relkind in ('v', 'm') as is_view,
    c.reltype::bigint as row_type,
    obj_description(c.oid, 'pg_class') as comment,
    -- The bits of INSERT and UPDATE, with what INSTEAD OF triggers make of a view.
    pg_relation_is_updatable(c.oid, true) & 8 > 0 as insertable,
    pg_relation_is_updatable(c.oid, true) & 4 > 0 as updatable,
    (
      select coalesce(json_agg(json_build_object(
        'name', a.attname,
        'type_id', a.atttypid::bigint,
        'not_null', a.attnotnull or exists (
          select
          from regexp_matches(
            plain.tree, ':resno (\d+) :resname (?:\\.|[^\s\\])+ :ressortgroupref \d+ :resorigtbl (\d+) :resorigcol (\d+)', 'g'
          ) as found (place)
          join pg_attribute base on base.attrelid = place[2]::oid and base.attnum = place[3]::int2
          where place[1]::int2 = a.attnum and base.attnotnull
        ),
        'has_default', a.atthasdef or a.attidentity = 'd',
        'generated', a.attgenerated <> '' or a.attidentity = 'a',
        'writable', pg_column_is_updatable(c.oid, a.attnum, true),
        'primary_key', exists (
          select from pg_index i
          where i.indrelid = c.oid and i.indisprimary and a.attnum = any (i.indkey::int2[])
        ),
        'comment', col_description(c.oid, a.attnum)
      ) order by a.attnum), '[]'::json)
      from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns,
    (
      select coalesce(json_agg(json_build_object(
        'name', k.conname,
        'columns', (
          select json_agg(a.attname order by key.position)
          from unnest(k.conkey) with ordinality as key (number, position)
          join pg_attribute a on a.attrelid = k.conrelid and a.attnum = key.number
        ),
        'schema', target_schema.nspname,
        'relation', target.relname,
        'references', (
          select json_agg(a.attname order by key.position)
          from unnest(k.confkey) with ordinality as key (number, position)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = key.number
        )
      )), '[]'::json)
      from pg_constraint k
      join pg_class target on target.oid = k.confrelid
      join pg_namespace target_schema on target_schema.oid = target.relnamespace
      where k.conrelid = c.oid and k.contype = 'f' and k.conparentid = 0
    ) as foreign_keys
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  -- The tree of a view's query, if a plain column of a table in it cannot become null: it is one query, with
  -- inner joins alone, and without grouping sets. A materialized view may be older than the constraint.
  left join lateral (
    select r.ev_action::text as tree
    from pg_rewrite r
    where r.ev_class = c.oid and c.relkind = 'v' and r.rulename = '_RETURN'
      and r.ev_action::text !~ ':jointype [1-9]|:setOperations \{|:groupingSets \(|\{QUERY .*\{QUERY '
  ) plain on true
  where n.nspname = any (:schemas)
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and not c.relispartition
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
    )
) found
