// The embedded Supabase: Postgres with pgvector and a PostgREST-compatible API on a loopback port.
//
// The parent process starts it with settings in the environment (settings.mjs) and reads one line of JSON from its
// stdout. Nothing else is written there. The parent keeps stdin open for as long as it needs the server.

import { once } from "node:events";

import { createAdaptorServer } from "@hono/node-server";

import { createApi } from "./api.mjs";
import { openDatabase } from "./database.mjs";
import { migrate } from "./migrate.mjs";
import { readSettings, StartError } from "./settings.mjs";

const HOST = "127.0.0.1";

// Libraries log to the console, but stdout is only for that line.
console.log = console.info = console.debug = console.error;

let database;

try {
  const settings = readSettings(process.env);
  let handle = () => new Response("starting", { status: 503 });
  const server = createAdaptorServer({ fetch: (request) => handle(request) });
  // Node's default of 5 s closes connections that a client is about to use again.
  server.keepAliveTimeout = 75_000;
  // The port comes first: if it is in use, no database is created.
  const port = await listen(server, settings.port);
  stopWithParent(server);
  database = await openDatabase(settings);
  if (settings.migrations) await migrate(database, settings.migrations);
  handle = await createApi(database, settings);
  announce({ ready: true, url: `http://${HOST}:${port}`, pid: process.pid });
} catch (error) {
  const { kind = "start", details = {} } = error instanceof StartError ? error : {};
  announce({ error: { kind, message: error.message, ...details } });
  await database?.close();
  process.exit(1);
}

async function listen(server, port) {
  server.listen(port, HOST);
  try {
    await once(server, "listening");
  } catch (error) {
    throw error.code === "EADDRINUSE" ? new StartError("port_taken", `port ${port} is in use`) : error;
  }
  return server.address().port;
}

/** Stops when the parent ends. It closes our stdin, or the system does if the parent was killed. */
function stopWithParent(server) {
  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    server.close();
    server.closeAllConnections();
    await database?.close();
    process.exit(0);
  };
  process.stdin.on("end", stop).on("error", stop).resume();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

function announce(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
