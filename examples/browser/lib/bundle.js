/**
 * A bundle that a browser reads: a folder on a server, or a packed bundle (.bmc).
 *
 * Only files in the manifest are opened, and each is compared with its size and sha256 there.
 */

import { encoderOf } from "./encoders/index.js";
import { BundleError, shown } from "./errors.js";
import { readManifest, sha256 } from "./manifest.js";
import { readArrays } from "./numpy.js";
import { entriesOf, unpack } from "./zip.js";

const MANIFEST = "manifest.json";
const KNOWN = [
  "golden.npz",
  "golden.json",
  "tokenizer.json",
  "evaluation.npz",
  "ranges.npz",
  "README.md",
];

/** @typedef {(name: string) => Promise<Uint8Array<ArrayBuffer>>} ReadFile */

/**
 * Open a bundle.
 *
 * @param {string} address address of the bundle's folder, or of a .bmc file
 * @returns {Promise<Bundle>}
 * @throws {BundleError} the bundle is missing, damaged, or not one that a page runs
 */
export async function openBundle(address) {
  const isPacked = new URL(address, "http://localhost/").pathname.endsWith(".bmc");
  const readFile = isPacked ? await packedReader(address) : folderReader(address);
  const manifest = await readManifest(await readFile(MANIFEST), address);
  const { model, build, files } = manifest;
  const known = [...KNOWN, model, ...Object.values(build.mobile ?? {})]; // model for phones
  const others = Object.keys(files).filter((name) => !known.includes(name));
  if (others.length) {
    throw new BundleError(
      `${address} has weights outside its ONNX file (${shown(others[0])}), which a page does not ` +
        "read: export a smaller model",
    );
  }
  const bundle = new Bundle(address, manifest, readFile);
  await bundle.encoder(); // refuses kinds of input that no page reads, before the model is loaded
  return bundle;
}

/** A bundle with a checked manifest. */
export class Bundle {
  /**
   * @param {string} address
   * @param {import("./manifest.js").Manifest} manifest
   * @param {ReadFile} readFile
   */
  constructor(address, manifest, readFile) {
    this.address = address;
    this.manifest = manifest;
    this.readFile = readFile;
    /** @type {Promise<import("./encoders/index.js").Encoder> | undefined} */
    this.loadedEncoder = undefined;
  }

  /**
   * Return the content of a file.
   *
   * @param {string} name
   * @returns {Promise<Uint8Array<ArrayBuffer>>}
   * @throws {BundleError} the manifest does not list the file, or it has another sha256
   */
  async read(name) {
    const { files, sizes } = this.manifest;
    if (!Object.hasOwn(files, name)) {
      throw new BundleError(
        `${this.address}: manifest.json does not list ${name}; export it again`,
      );
    }
    const content = await this.readFile(name);
    const size = sizes?.[name] ?? content.length;
    if (content.length !== size || (await sha256(content)) !== files[name]) {
      throw new BundleError(
        `${this.address}: ${name} was changed (its sha256 is not that in manifest.json); ` +
          "copy the bundle again",
      );
    }
    return content;
  }

  /**
   * Return the encoder, which turns rows into the model's input tensors.
   *
   * @returns {Promise<import("./encoders/index.js").Encoder>}
   */
  encoder() {
    this.loadedEncoder ??= encoderOf(this.manifest.preprocessing, (name) => this.read(name));
    return this.loadedEncoder;
  }

  /**
   * Return the golden rows, with the tensors and labels that they had at the export.
   *
   * @returns {Promise<Golden>}
   */
  async golden() {
    const arrays = await readArrays(await this.read("golden.npz"), "golden.npz");
    const text = new TextDecoder().decode(await this.read("golden.json"));
    const { rows, labels } = JSON.parse(text);
    const { inputs, outputs } = this.manifest;
    for (const [kind, tensors] of Object.entries({ input: inputs, output: outputs })) {
      const missing = tensors.find(({ name }) => !arrays.has(`${kind}.${name}`));
      if (missing) {
        throw new BundleError(
          `${this.address}: golden.npz has no ${kind} ${shown(missing.name)}; export it again`,
        );
      }
    }
    return {
      rows: rows.map(
        (/** @type {any} */ row, /** @type {number} */ number) =>
          row ?? arrays.get(`row.${number}`),
      ),
      labels,
      inputs: named(arrays, "input."),
      outputs: named(arrays, "output."),
    };
  }
}

/**
 * @typedef {import("./numpy.js").NumpyArray} NumpyArray
 * @typedef {{rows: any[], labels: string[], inputs: Map<string, NumpyArray>,
 *   outputs: Map<string, NumpyArray>}} Golden
 */

/**
 * @param {Map<string, NumpyArray>} arrays
 * @param {string} prefix
 */
function named(arrays, prefix) {
  const entries = [...arrays].filter(([name]) => name.startsWith(prefix));
  return new Map(entries.map(([name, array]) => [name.slice(prefix.length), array]));
}

/**
 * @param {string} address
 * @returns {ReadFile}
 */
function folderReader(address) {
  const base = address.endsWith("/") ? address : `${address}/`;
  return (name) => download(base + name.split("/").map(encodeURIComponent).join("/"));
}

/**
 * @param {string} address
 * @returns {Promise<ReadFile>}
 */
async function packedReader(address) {
  const bytes = await download(address);
  const entries = entriesOf(bytes, address);
  return async (name) => {
    const entry = entries.get(name);
    if (!entry) throw new BundleError(`${address} has no file ${name}; pack the bundle again`);
    return unpack(bytes, entry);
  };
}

/** @param {string} address */
async function download(address) {
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new BundleError(`${address} cannot be loaded: ${/** @type {Error} */ (error).message}`);
  }
  if (!response.ok) {
    throw new BundleError(
      `${address} cannot be loaded: HTTP ${response.status}; put a bundle there ` +
        "(npm run build -- BUNDLE)",
    );
  }
  return new Uint8Array(await response.arrayBuffer());
}
