/** Clips of sound become raw samples of one length, at 16 kHz. */

import { BundleError } from "../errors.js";

export const RATE = 16_000;
const LARGEST = 10; // no sample in -1..1 reaches it, also after noise or resampling

export class AudioEncoder {
  /** @param {Record<string, any>} settings `preprocessing` of the manifest */
  constructor(settings) {
    this.kind = "audio";
    this.samples = settings.samples;
    if (settings.rate !== RATE)
      throw new BundleError(`the model takes ${settings.rate} samples a second`);
  }

  /**
   * Encode clips, or golden rows: keep the start, and fill the end with zeros.
   *
   * @param {(Float32Array | import("../numpy.js").NumpyArray)[]} rows mono samples in -1..1, or of
   *   16 bits
   * @returns {Record<string, import("./index.js").Tensor>}
   * @throws {BundleError} a clip is empty, or holds other numbers
   */
  batch(rows) {
    const data = new Float32Array(rows.length * this.samples);
    rows.forEach((row, number) => {
      const clip = row instanceof Float32Array ? row : clipOf(row);
      check(clip);
      data.set(clip.subarray(0, this.samples), number * this.samples);
    });
    return { samples: { type: "float32", dims: [rows.length, this.samples], data } };
  }
}

/** @param {import("../numpy.js").NumpyArray} array */
function clipOf(array) {
  const scale = array.dtype === "int16" ? 1 / 32_768 : 1;
  return Float32Array.from(/** @type {Float32Array} */ (array.data), (value) => value * scale);
}

/** @param {Float32Array} clip */
function check(clip) {
  if (!clip.length) throw new BundleError("the sound has no samples: record it again");
  if (!clip.every((value) => Math.abs(value) <= LARGEST)) {
    throw new BundleError("the sound has samples far outside -1..1: record it again");
  }
}
