// The request handler: @supabase/lite under /rest/v1, and SQL for tests and tools under POST /sql.

import { timingSafeEqual } from "node:crypto";

import { App } from "@supabase/lite";

import { withPostgresErrors } from "./errors.mjs";

/** After these statements the API reads the schema again. Reading it after every statement would cost too much. */
const CHANGES_SCHEMA = /\b(alter|comment|create|drop|grant|revoke)\b/i;

export async function createApi(database, settings) {
  const app = new App({
    connection: database.connection,
    auth: { enabled: false, publishable_key: settings.publishableKey, secret_key: settings.secretKey },
    api: settings.maxRows === undefined ? settings.api : { ...settings.api, max_rows: settings.maxRows },
  });
  await app.init();
  // At its first request, @supabase/lite would grant every privilege on every table to anon. The project's own grants
  // count, as they do in hosted Supabase. In this state it sets the role of each request and grants nothing.
  database.connection.rlsState = "active";
  await database.connection.introspect({ useCache: true });
  const rest = withPostgresErrors(database.connection, (request) => app.fetch(request));
  return async (request) => {
    // The body is read before the connection is taken, so that a slow sender does not block other requests.
    const body = request.body === null ? undefined : await request.arrayBuffer();
    const { pathname } = new URL(request.url);
    if (pathname === "/sql") return runSql(request, body, database, settings);
    const whole = new Request(request.url, { method: request.method, headers: request.headers, body });
    return database.exclusive(() => rest(whole));
  };
}

async function runSql(request, body, database, settings) {
  if (request.method !== "POST") return json(405, { code: "405", message: "send the statements with POST" });
  if (!sameKey(request.headers.get("apikey"), settings.secretKey)) {
    return json(401, { code: "401", message: "the apikey header must hold the secret key" });
  }
  const sql = new TextDecoder().decode(body);
  return database.exclusive(async () => {
    try {
      return json(200, await database.run(sql));
    } catch (error) {
      return json(400, { code: error.code ?? null, message: error.message });
    } finally {
      if (CHANGES_SCHEMA.test(sql)) await database.connection.clearSchemaCache();
    }
  });
}

function sameKey(given, key) {
  const [a, b] = [Buffer.from(given ?? ""), Buffer.from(key)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function json(status, value) {
  const text = JSON.stringify(value, (_, item) => (typeof item === "bigint" ? item.toString() : item));
  return new Response(text, { status, headers: { "content-type": "application/json; charset=utf-8" } });
}
