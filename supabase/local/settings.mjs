// The settings that the parent process passes in the environment, read once and checked.

/** A failure to start. The parent reads its kind: `port_taken`, `migration` or `start`. */
export class StartError extends Error {
  constructor(kind, message, details = {}) {
    super(message);
    this.kind = kind;
    this.details = details;
  }
}

export function readSettings(env) {
  const required = (name) => {
    if (!env[name]) throw new StartError("start", `${name} is not set`);
    return env[name];
  };
  const object = (name) => {
    try {
      return JSON.parse(env[name] || "{}");
    } catch (error) {
      throw new StartError("start", `${name} must be a JSON object: ${error.message}`);
    }
  };
  const number = (name, fallback, most) => {
    if (!env[name]) return fallback;
    const value = Number(env[name]);
    if (!Number.isInteger(value) || value < 0 || value > most) {
      throw new StartError("start", `${name} must be a whole number up to ${most}, but it is ${env[name]}`);
    }
    return value;
  };
  return {
    port: number("SLUICE_LOCAL_PORT", 0, 65535),
    publishableKey: required("SLUICE_LOCAL_PUBLISHABLE_KEY"),
    secretKey: required("SLUICE_LOCAL_SECRET_KEY"),
    api: object("SLUICE_LOCAL_API"),
    maxRows: number("SLUICE_LOCAL_MAX_ROWS", undefined, Number.MAX_SAFE_INTEGER),
    dataDir: env.SLUICE_LOCAL_DATA_DIR || undefined,
    migrations: env.SLUICE_LOCAL_MIGRATIONS || undefined,
    databaseUrl: env.SLUICE_LOCAL_DATABASE_URL || undefined,
  };
}
