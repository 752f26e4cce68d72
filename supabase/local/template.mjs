// The empty cluster that PGlite starts from, kept in a file.
//
// Making one (initdb in WebAssembly) takes seconds, loading one a second, and every run of the tests starts a server. The
// file stands with the installed packages, named for the version of PGlite that made it.

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The kept cluster, or undefined where none has been kept yet. */
export async function loadTemplate() {
  try {
    return new Blob([await readFile(templatePath())]);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps a cluster to which nothing has been done yet. A folder that cannot be written only costs the time. */
export async function keepTemplate(pglite) {
  const path = templatePath();
  const unfinished = `${path}.${process.pid}`;
  try {
    const dump = await pglite.dumpDataDir("none");
    await mkdir(dirname(path), { recursive: true });
    await writeFile(unfinished, Buffer.from(await dump.arrayBuffer()));
    // Whole or not at all, also where two servers start at once.
    await rename(unfinished, path);
  } catch (error) {
    console.error(`the empty cluster is not kept: ${error.message}`);
  }
}

function templatePath() {
  const here = dirname(fileURLToPath(import.meta.url));
  const entry = createRequire(import.meta.url).resolve("@electric-sql/pglite");
  const version = createRequire(entry)(join(dirname(entry), "..", "package.json")).version;
  return join(here, "node_modules", ".cache", "sluice", `pglite-${version}.tar`);
}
