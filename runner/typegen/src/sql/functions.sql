-- The functions of the chosen schemas that a client can call, as one JSON array.
--
-- No triggers, aggregates, window functions or procedures, and nothing that belongs to an extension.
select coalesce(json_agg(found), '[]'::json)
from (
  select
    n.nspname as schema,
    p.proname as name,
    obj_description(p.oid, 'pg_proc') as comment,
    p.provolatile in ('i', 's') as read_only,
    p.proretset as returns_set,
    p.prorettype::bigint as result,
    p.pronargdefaults as defaults,
    (
      select coalesce(json_agg(json_build_object(
        'name', nullif(p.proargnames[argument.position], ''),
        'mode', coalesce(p.proargmodes[argument.position]::text, 'i'),
        'type_id', argument.type_id::bigint
      ) order by argument.position), '[]'::json)
      from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]))
        with ordinality as argument (type_id, position)
    ) as arguments
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = any (:schemas)
    and p.prokind = 'f'
    and p.prorettype not in ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
    )
) found
