// Returns errors of Postgres as PostgREST does, if @supabase/lite does not know them.
//
// @supabase/lite returns status 500 with its own code and no SQLSTATE for them. Violated checks and statement timeouts
// are among them. So this notes each error that Postgres raises on the connection, and builds the response from it.

import { AsyncLocalStorage } from "node:async_hooks";

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** The code of @supabase/lite for an error that it does not know. */
const UNKNOWN = "SUP";

/** PostgREST's statuses by SQLSTATE or by its class. Every other error of Postgres is a 400. */
const STATUSES = {
  "57P01": 503, P0001: 400,
  "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500,
  "54": 500, "57": 500, "58": 500, F0: 500, HV: 500, P0: 500, XX: 500,
};

/** Wraps a request handler that uses this connection. */
export function withPostgresErrors(connection, handle) {
  const requests = new AsyncLocalStorage();
  const normalize = connection.normalizeDbError.bind(connection);
  connection.normalizeDbError = (error) => {
    const known = normalize(error);
    const request = requests.getStore();
    if (request) request.error = known;
    return known;
  };
  return async (request) => {
    const noted = {};
    const response = await requests.run(noted, () => handle(request));
    if (response.status !== 500 || !SQLSTATE.test(noted.error?.code ?? "")) return response;
    const body = await response.clone().json().catch(() => ({}));
    return body.code === UNKNOWN ? errorResponse(noted.error) : response;
  };
}

function errorResponse({ code, message, detail, hint }) {
  const status = STATUSES[code] ?? STATUSES[code.slice(0, 2)] ?? 400;
  return Response.json({ code, message, details: detail ?? null, hint: hint ?? null }, { status });
}
