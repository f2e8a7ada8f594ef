// Builds the page into src/dermdistill/serve/page/. `node build.mjs DIR` builds into another folder.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "../src/dermdistill/serve/page");
const STATIC = ["index.html", "icon.svg", "manifest.webmanifest", "sw.js", "example.jpg", "LICENSES.txt"];
const RUNTIME = join(here, "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm");

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const common = { bundle: true, minify: true, target: ["chrome94", "firefox113", "safari16.4"], legalComments: "none" };
await build({
  ...common, absWorkingDir: here, entryPoints: ["src/app.ts"], format: "esm", outfile: join(out, "app.js"),
});
// The thread starts from a blob, where modules have no address of their own.
await build({
  ...common, absWorkingDir: here, entryPoints: ["src/worker.ts"], format: "iife", outfile: join(out, "worker.js"),
  define: { "import.meta.url": "self.location.origin" }, conditions: ["import"], external: ["module", "worker_threads"],
});
await build({ ...common, absWorkingDir: here, entryPoints: ["style.css"], outfile: join(out, "style.css") });
for (const name of STATIC) copyFileSync(join(here, name), join(out, name));
writeFileSync(join(out, "engine.wasm.gz"), gzipSync(readFileSync(RUNTIME), { level: 9 }));

// What the build was made from: dermdistill's tests compare it with the sources that are there.
const hash = (content) => createHash("sha256").update(content).digest("hex");
const sources = ["package.json", "package-lock.json", "build.mjs", "style.css", ...STATIC, ...folder("src"), ...folder("texts")];
const build_json = {
  sources: Object.fromEntries(sources.sort().map((name) => [name, hash(readFileSync(join(here, name)))])),
  files: Object.fromEntries(readdirSync(out).sort().map((name) => [name, hash(readFileSync(join(out, name)))])),
  runtime: { version: version("onnxruntime-web"), sha256: hash(readFileSync(RUNTIME)) },
};
writeFileSync(join(out, "build.json"), JSON.stringify(build_json, null, 1) + "\n");
for (const name of readdirSync(out).sort()) {
  const content = readFileSync(join(out, name));
  console.log(`${String(statSync(join(out, name)).size).padStart(9)} ${String(gzipSync(content).length).padStart(9)} ${name}`);
}

function folder(name) {
  return readdirSync(join(here, name)).map((file) => `${name}/${file}`);
}

function version(name) {
  return JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8")).version;
}
