/** The manifest of a bundle: what a reader must refuse, before anything else is loaded. */

import { BundleError, shown } from "./errors.js";
import { parseObject } from "./strict_json.js";

const SCHEMA = 1;
const MAX_BYTES = 16 * 2 ** 20;
const TASKS = ["classification", "multilabel", "regression", "embedding"];
const TYPES = {
  ...{ name: "string", target: "string", precision: "string", model: "string", task: "string" },
  ...{ inputs: "list", outputs: "list", labels: "list" },
  ...{ preprocessing: "object", lineage: "object", parity: "object", scores: "object" },
  ...{ build: "object", files: "object" },
};
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

/**
 * @typedef {{name: string, dtype: string, shape: (number | string)[]}} TensorInfo
 * @typedef {object} Manifest
 * @property {string} name
 * @property {string} target
 * @property {string} precision
 * @property {string} model path of the ONNX file
 * @property {TensorInfo[]} inputs
 * @property {TensorInfo[]} outputs
 * @property {string[]} labels
 * @property {string} task
 * @property {Record<string, any>} preprocessing kind and settings
 * @property {number[]} [thresholds] probability of each label above which it is predicted
 * @property {number | null} [reject_below] probability of the predicted label below which a row
 *   gets no label
 * @property {Record<string, any>} parity
 * @property {Record<string, any>} scores
 * @property {Record<string, any>} build `mobile` names the files of the model for phones
 * @property {Record<string, string>} files sha256 by path
 * @property {Record<string, number>} [sizes] bytes by path
 * @property {string} [digest]
 */

/**
 * Parse and check a manifest.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes content of manifest.json
 * @param {string} where the bundle's address, for messages
 * @returns {Promise<Manifest>}
 * @throws {BundleError} it is damaged, of a later version, or of a bundle that no page can run
 */
export async function readManifest(bytes, where) {
  if (bytes.length > MAX_BYTES)
    throw new BundleError(`${where}: manifest.json has ${bytes.length} bytes`);
  const { value, written } = parsed(bytes, where);
  checkTypes(value, where);
  const hasDigest = value.digest !== undefined || value.sizes !== undefined; // bmc 0.1 had neither
  if (hasDigest && (await sha256(encoded(written("digest")))) !== value.digest) {
    throw new BundleError(`${where}: manifest.json was changed; copy the bundle again`);
  }
  checkUse(/** @type {any} */ (value), where);
  for (const path of [value.model, ...Object.keys(value.files)]) checkPath(path, where);
  return /** @type {any} */ (value);
}

/**
 * Return the sha256 of bytes, in hexadecimal digits.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<string>}
 * @throws {BundleError} the page was not loaded over https or from localhost
 */
export async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new BundleError(
      "browsers compute SHA-256 only for pages loaded over https or from localhost: serve this " +
        "page over https",
    );
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} where
 */
function parsed(bytes, where) {
  try {
    return parseObject(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new BundleError(
      `${where}: manifest.json is damaged (${/** @type {Error} */ (error).message}); ` +
        "is a bundle there?",
    );
  }
}

/**
 * @param {Record<string, any>} value
 * @param {string} where
 */
function checkTypes(value, where) {
  if (value.schema !== SCHEMA) {
    throw new BundleError(
      `${where}: the bundle has the format ${shown(value.schema)}, and this page reads ` +
        `${SCHEMA}: build the page of a newer bmc`,
    );
  }
  for (const [key, type] of Object.entries(TYPES)) {
    const found = Array.isArray(value[key]) ? "list" : typeof value[key];
    if (found !== type || value[key] === null) {
      throw new BundleError(
        `${where}: manifest.json has no ${key} (${type}); export the bundle again`,
      );
    }
  }
  const tensors = [...value.inputs, ...value.outputs];
  const isTensor = (/** @type {any} */ tensor) =>
    typeof tensor?.name === "string" &&
    typeof tensor.dtype === "string" &&
    Array.isArray(tensor.shape);
  const counts = [value.inputs.length, value.outputs.length];
  if (!tensors.every(isTensor) || counts.some((count) => count < 1 || count > 16)) {
    throw new BundleError(
      `${where}: manifest.json describes no inputs and outputs; export it again`,
    );
  }
}

/**
 * Refuse a bundle that is right, and cannot be used in a page.
 *
 * @param {Manifest & {failure?: string | null}} manifest
 * @param {string} where
 */
function checkUse(manifest, where) {
  const { target, task, failure, labels, outputs, thresholds, reject_below = null } = manifest;
  if (target !== "onnx") {
    throw new BundleError(
      `${where} is a bundle for the target ${shown(target)}, and a browser runs those for onnx: ` +
        "bmc export MODEL --target onnx",
    );
  }
  if (failure) {
    throw new BundleError(
      `${where} failed a check when it was exported (${failure.slice(0, 200)})`,
    );
  }
  if (!TASKS.includes(task)) {
    throw new BundleError(
      `${where} is for the task ${shown(task)}, and this page shows ${TASKS.join(", ")}: ask a ` +
        "service (bmc serve)",
    );
  }
  const hasLabels = task === "classification" || task === "multilabel";
  if (hasLabels && (!labels.length || outputs[0].shape[1] !== labels.length)) {
    throw new BundleError(
      `${where}: its first output has not one value for each label; export it again`,
    );
  }
  if (task === "multilabel" && thresholds?.length !== labels.length) {
    throw new BundleError(`${where}: the labels and thresholds do not fit; export it again`);
  }
  const isProbability = typeof reject_below === "number" && reject_below > 0 && reject_below < 1;
  if (reject_below !== null && !(isProbability && task === "classification")) {
    throw new BundleError(`${where}: reject_below is ${shown(reject_below)}; export it again`);
  }
}

/**
 * @param {string} path
 * @param {string} where
 */
function checkPath(path, where) {
  const parts = path.split("/");
  const isPlain = parts.every((part) => part !== "" && part !== "." && part !== "..");
  if (!isPlain || /[\\:]/.test(path) || UNPRINTABLE.test(path) || encoded(path).length > 255) {
    throw new BundleError(`${where}: ${shown(path)} is not a path in a bundle`);
  }
}

/** @param {string} text */
function encoded(text) {
  return new TextEncoder().encode(text);
}
