// Errors of Postgres that @supabase/lite does not know, as PostgREST answers them.
//
// It answers them as 500 with a code of its own and no SQLSTATE: a violated check among them, and a statement that took too
// long. What Postgres said is noted where it goes through the connection, and such an answer is made anew from it.

import { AsyncLocalStorage } from "node:async_hooks";

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** What @supabase/lite says where it knows no better. */
const UNKNOWN = "SUP";

/** PostgREST's statuses by SQLSTATE or by its class; whatever else Postgres refuses is the request's fault. */
const STATUSES = {
  "57P01": 503, P0001: 400,
  "08": 503, "09": 500, "0L": 403, "0P": 403, "25": 500, "28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500,
  "54": 500, "57": 500, "58": 500, F0: 500, HV: 500, P0: 500, XX: 500,
};

/** Wraps what answers requests over this connection. */
export function withPostgresErrors(connection, answer) {
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
    const response = await requests.run(noted, () => answer(request));
    if (response.status !== 500 || !SQLSTATE.test(noted.error?.code ?? "")) return response;
    const body = await response.clone().json().catch(() => ({}));
    return body.code === UNKNOWN ? errorResponse(noted.error) : response;
  };
}

function errorResponse({ code, message, detail, hint }) {
  const status = STATUSES[code] ?? STATUSES[code.slice(0, 2)] ?? 400;
  return Response.json({ code, message, details: detail ?? null, hint: hint ?? null }, { status });
}
