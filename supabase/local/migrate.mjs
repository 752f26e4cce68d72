// Applies a folder of migrations once each, in the order of their names. They are recorded in the table of the Supabase
// CLI, so that either tool continues after the other.

import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import { StartError } from "./settings.mjs";

const NAME = /^(\d+)_(.+)\.sql$/;

export async function migrate(database, folder) {
  await database.run(HISTORY);
  const rows = await database.run("select version from supabase_migrations.schema_migrations");
  const applied = new Set(rows.map((row) => row.version));
  for (const file of (await readdir(folder)).filter((name) => NAME.test(name)).sort()) {
    const [, version, name] = file.match(NAME);
    if (applied.has(version)) continue;
    const sql = await readFile(join(folder, file), "utf8");
    try {
      // All statements of one `run` are one transaction. So a migration is never applied without being recorded.
      await database.run(`${sql};\n${record(version, name, sql)}`);
    } catch (error) {
      throw new StartError("migration", error.message, { file });
    }
  }
}

const HISTORY = `
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text not null primary key,
  statements text[],
  name text
);
`;

function record(version, name, sql) {
  const values = [quote(version), `array[${quote(sql)}]`, quote(name)];
  return `insert into supabase_migrations.schema_migrations (version, statements, name) values (${values.join(", ")})`;
}

function quote(text) {
  return `'${text.replaceAll("'", "''")}'`;
}
