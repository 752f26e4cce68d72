// The Postgres behind the API: PGlite in this process, or a Postgres server by its URL.
//
// Both have the same members. `connection` is for @supabase/lite. `run(sql)` runs one or more statements as one
// transaction and returns the rows of the last. `exclusive(task)` keeps other requests off the connection while the
// task runs. `close()` ends the connection.

import { keepTemplate, loadTemplate } from "./template.mjs";

/** @supabase/lite sends a JSON argument as text. By default the driver would encode it twice, as a JSON string. */
const JSON_TYPES = Object.fromEntries(
  [["json", 114], ["jsonb", 3802]].map(([name, oid]) => [
    name,
    {
      to: oid,
      from: [oid],
      serialize: (value) => (typeof value === "string" ? value : JSON.stringify(value)),
      parse: (text) => JSON.parse(text),
    },
  ]),
);

/** The same as in hosted Supabase: extensions are in their own schema, and every session finds them there. */
const SEARCH_PATH = '"$user", public, extensions';

export async function openDatabase(settings) {
  const database = settings.databaseUrl ? await openPostgres(settings.databaseUrl) : await openPglite(settings.dataDir);
  await database.run(SUPABASE_BASE);
  return database;
}

async function openPglite(dataDir) {
  const [{ createPgliteConnection }, { vector }] = await Promise.all([
    import("@supabase/lite/pglite"),
    import("@electric-sql/pglite/vector"),
  ]);
  const template = dataDir ? undefined : await loadTemplate();
  const connection = await createPgliteConnection({
    url: dataDir,
    pgliteOptions: { extensions: { vector }, loadDataDir: template },
  });
  const pglite = connection.driver;
  await pglite.waitReady;
  if (!dataDir && !template) await keepTemplate(pglite);
  return {
    connection,
    exclusive: oneAtATime(),
    async run(sql) {
      try {
        const results = await pglite.exec(sql);
        return results.at(-1)?.rows ?? [];
      } catch (error) {
        // If the statements had their own `begin`, the failed transaction is still open on the only connection.
        await pglite.exec("rollback");
        throw error;
      } finally {
        // The statements may change it, and this session serves every later request.
        await pglite.exec(`set search_path = ${SEARCH_PATH}`);
      }
    },
    close: () => connection.close(),
  };
}

async function openPostgres(url) {
  const { createPostgresConnection } = await import("@supabase/lite/postgres");
  const connection = createPostgresConnection({
    url,
    postgresOptions: { connection: { search_path: SEARCH_PATH }, types: JSON_TYPES, onnotice: () => {} },
  });
  return {
    connection,
    // The pool gives each request its own connection.
    exclusive: (task) => task(),
    async run(sql) {
      const results = await connection.driver.unsafe(sql).simple();
      const last = Array.isArray(results.at(-1)) ? results.at(-1) : results;
      return [...last];
    },
    close: () => connection.close(),
  };
}

/**
 * Runs tasks one after the other. PGlite has one connection, and @supabase/lite sends BEGIN, the statements and COMMIT
 * of a request separately. Two requests at once would share a transaction and a role.
 */
function oneAtATime() {
  let last = Promise.resolve();
  return (task) => {
    const result = last.then(task);
    last = result.catch(() => {});
    return result;
  };
}

/**
 * What hosted Supabase has before the first migration: roles, the schema for extensions, default grants. The grants are
 * made once, with the roles, because a migration may take them back.
 */
const SUPABASE_BASE = `
do $$
declare
  v_new boolean := false;
begin
  if not exists (select from pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
    v_new := true;
  end if;
  if not exists (select from pg_roles where rolname = 'authenticated') then
    create role authenticated nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'service_role') then
    create role service_role nologin noinherit bypassrls;
  end if;
  if v_new then
    alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
    alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
    alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
  end if;
end
$$;
create schema if not exists extensions;
grant usage on schema public, extensions to anon, authenticated, service_role;
`;
