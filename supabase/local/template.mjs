// Keeps the empty cluster that PGlite starts from in a file.
//
// Creating a cluster (initdb in WebAssembly) takes seconds, loading one takes a second, and every test run starts a
// server. The file is beside the installed packages and is named after the version of PGlite that made it.

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The kept cluster, or undefined if there is none yet. */
export async function loadTemplate() {
  try {
    return new Blob([await readFile(templatePath())]);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps a new cluster. If the folder cannot be written, the next start only takes longer. */
export async function keepTemplate(pglite) {
  const path = templatePath();
  const unfinished = `${path}.${process.pid}`;
  try {
    const dump = await pglite.dumpDataDir("none");
    await mkdir(dirname(path), { recursive: true });
    await writeFile(unfinished, Buffer.from(await dump.arrayBuffer()));
    // A rename, so that a second server that starts now never reads half a file.
    await rename(unfinished, path);
  } catch (error) {
    console.error(`failed to keep the empty cluster: ${error.message}`);
  }
}

function templatePath() {
  const here = dirname(fileURLToPath(import.meta.url));
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const version = createRequire(entry)(join(dirname(entry), "..", "package.json")).version;
  return join(here, "node_modules", ".cache", "sluice", `pglite-${version}.tar`);
}
