/**
 * Encoders turn rows into a model's input tensors; each kind of input has its own file.
 *
 * docs/bundle.md, "Preprocessing", says what they compute.
 */

import { BundleError, shown } from "../errors.js";
import { AudioEncoder } from "./audio.js";
import { ImageEncoder } from "./image.js";
import { TextEncoder as RowEncoder } from "./text.js";

/**
 * @typedef {{type: "int64" | "float32", dims: number[], data: BigInt64Array | Float32Array}} Tensor
 * @typedef {object} Encoder
 * @property {string} kind
 * @property {(rows: any[]) => Record<string, Tensor>} batch encode rows into tensors, by name
 */

const OF_TEXT = ["max_length", "columns", "pad_id", "truncation_side", "pair_types"];
/**
 * The settings of each kind: without one that is not known, rows would be read otherwise.
 *
 * @type {Record<string, string[]>}
 */
const KNOWN = {
  text: ["kind", ...OF_TEXT, "vocabulary", "html_breaks", "type_input", "prompt"],
  image: ["kind", "layout", "height", "width", "channels", "mean", "std", "any_size"],
  audio: ["kind", "rate", "samples"],
};
const READ = "text, image and audio";
const INSTEAD = { ngram: ", or distill a model of text (bmc distill --student tiny)" };

/**
 * Create the encoder of a bundle.
 *
 * @param {Record<string, any>} settings `preprocessing` of the manifest
 * @param {import("../bundle.js").ReadFile} readFile
 * @returns {Promise<Encoder>}
 * @throws {BundleError} the kind is not one that a page reads
 */
export async function encoderOf(settings, readFile) {
  const known = Object.hasOwn(KNOWN, settings.kind) ? KNOWN[settings.kind] : undefined;
  const unknown = known && Object.keys(settings).find((name) => !known.includes(name));
  if (unknown) {
    throw new BundleError(
      `the bundle has the setting ${shown(unknown)} of preprocessing, which this page does not ` +
        "know: take a newer one",
    );
  }
  switch (settings.kind) {
    case "text":
      return new RowEncoder(settings, await parsedFile("tokenizer.json", readFile));
    case "image":
      return new ImageEncoder(settings);
    case "audio":
      return new AudioEncoder(settings);
    default: {
      const instead = INSTEAD[/** @type {keyof typeof INSTEAD} */ (settings.kind)] ?? "";
      throw new BundleError(
        `the bundle takes ${shown(settings.kind)} as input, and this page reads ${READ}: ask a ` +
          `service (bmc serve)${instead}`,
      );
    }
  }
}

/**
 * @param {string} name
 * @param {import("../bundle.js").ReadFile} readFile
 */
async function parsedFile(name, readFile) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await readFile(name)));
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(
      `${name} is damaged (${/** @type {Error} */ (error).message}); export it again`,
    );
  }
}
