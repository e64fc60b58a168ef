/**
 * Write the page, with everything that it loads, into a folder.
 *
 *     node build.mjs [BUNDLE] [--out FOLDER] [--webgpu]
 *
 * BUNDLE, a folder or a .bmc file, is copied into FOLDER, without the files that a page does not
 * read. --webgpu adds the runtime for GPUs, 7 MB.
 */

import { access, copyFile, cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { parseArgs, promisify } from "node:util";
import { gzip } from "node:zlib";

import { build } from "esbuild";

const HERE =
  import.meta.dirname ?? fail(`node ${process.version} is too old: install 20.11 or newer`);
const FROM = process.env.INIT_CWD ?? process.cwd(); // the folder in which npm was called
const NOT_READ = ["evaluation.npz", "ranges.npz", "README.md"];
const ORT = path.dirname(createRequire(import.meta.url).resolve("onnxruntime-web/wasm"));
const RUNTIME = "ort-wasm-simd-threaded";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string" }, webgpu: { type: "boolean", default: false } },
});
const page = values.out ? path.resolve(FROM, values.out) : path.join(HERE, "dist");

const from = positionals.length ? path.resolve(FROM, positionals[0]) : null;
const bundle = from?.endsWith(".bmc") ? "bundle.bmc" : "bundle/";

await checkOutput();
const notRead = [...NOT_READ];
if (from?.endsWith(".bmc")) {
  await access(from).catch((error) => fail(`${from} cannot be read: ${error.message}`));
} else if (from) {
  const { build: details } = await readBundle(from);
  notRead.push(...Object.values(details?.mobile ?? {})); // the model for phones
}
await mkdir(path.dirname(page), { recursive: true });
const out = `${page}.${process.pid}.new`; // a build that fails leaves the page as it was
await mkdir(out);
try {
  await writePage();
  await rm(page, { recursive: true, force: true });
  await rename(out, page);
} catch (error) {
  await rm(out, { recursive: true, force: true });
  throw error;
}
console.log(`wrote ${page}: serve it, for example with python -m http.server -d ${page} 8000`);

async function writePage() {
  await mkdir(path.join(out, "ort"));
  await buildScripts();
  for (const file of ["index.html", "style.css"])
    await copyFile(path.join(HERE, "page", file), path.join(out, file));
  await copyRuntime(RUNTIME);
  if (values.webgpu) await copyRuntime(`${RUNTIME}.asyncify`);
  if (from) await copyBundle(from, path.join(out, bundle));
}

/** Refuse what holds other files than those of a page: it is removed before it is written. */
async function checkOutput() {
  if (from && `${from}${path.sep}`.startsWith(`${page}${path.sep}`)) {
    fail(`${page} holds the bundle: choose another folder, which is removed before it is written`);
  }
  const names = await readdir(page).catch((error) =>
    error.code === "ENOENT" ? [] : fail(`${page} cannot be written: ${error.message}`),
  );
  const isPage = ["page.js", "worker.js", "ort"].every((name) => names.includes(name));
  if (names.length && !isPage) fail(`${page} holds other files: choose an empty folder`);
}

/**
 * Return the manifest of a bundle that is a folder.
 *
 * @param {string} folder
 */
async function readBundle(folder) {
  const file = path.join(folder, "manifest.json");
  const manifest = await readFile(file, "utf8")
    .then(JSON.parse)
    .catch((error) => fail(`${folder} is not a bundle: ${error.message}`));
  if (manifest.target !== "onnx") {
    fail(`${folder} is for the target ${manifest.target}: bmc export MODEL --target onnx`);
  }
  return manifest;
}

/**
 * @param {string} message
 * @returns {never}
 */
function fail(message) {
  console.error(message);
  process.exit(1);
}

/** Bundle the page, its worker and its recorder with what they import. */
async function buildScripts() {
  await build({
    entryPoints: ["page", "worker", "recorder"].map((name) =>
      path.join(HERE, "page", `${name}.js`),
    ),
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    minify: true,
    legalComments: "linked",
    define: { BMC_BUNDLE: JSON.stringify(bundle), BMC_WEBGPU: String(values.webgpu) },
    conditions: ["onnxruntime-web-use-extern-wasm"], // its WebAssembly is in ort/, compressed
    logLevel: "warning",
  });
}

/**
 * Copy the loader of a WebAssembly, and compress the WebAssembly: few static servers do.
 *
 * @param {string} name
 */
async function copyRuntime(name) {
  await copyFile(path.join(ORT, `${name}.mjs`), path.join(out, "ort", `${name}.mjs`));
  const wasm = await readFile(path.join(ORT, `${name}.wasm`));
  await writeFile(
    path.join(out, "ort", `${name}.wasm.gz`),
    await promisify(gzip)(wasm, { level: 9 }),
  );
}

/**
 * Copy a bundle, without the files that a page does not read.
 *
 * @param {string} from
 * @param {string} to
 */
async function copyBundle(from, to) {
  const filter = (/** @type {string} */ source) => !notRead.includes(path.basename(source));
  await cp(from, to, { recursive: true, filter });
}
