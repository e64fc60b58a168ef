/** Images of 8 bits a channel become normalized pixels. */

import { BundleError } from "../errors.js";
import { resized } from "./resize.js";

/**
 * @typedef {{height: number, width: number, channels: number, data: Uint8Array}} Image values by
 *   row, column and channel; 1 (gray), 3 or 4 channels, of which the fourth is not read
 */

export class ImageEncoder {
  /** @param {Record<string, any>} settings `preprocessing` of the manifest */
  constructor(settings) {
    this.kind = "image";
    this.height = settings.height;
    this.width = settings.width;
    this.channels = settings.channels;
    /** @type {number[]} */
    this.scale = settings.std.map((/** @type {number} */ std) => Math.fround(1 / (255 * std)));
    /** @type {number[]} */
    this.shift = settings.mean.map((/** @type {number} */ mean, /** @type {number} */ channel) =>
      Math.fround(-mean / settings.std[channel]),
    );
  }

  /**
   * Encode images, or golden rows.
   *
   * @param {(Image | import("../numpy.js").NumpyArray)[]} rows
   * @returns {Record<string, import("./index.js").Tensor>}
   */
  batch(rows) {
    const dims = [rows.length, this.channels, this.height, this.width];
    const area = this.height * this.width;
    const data = new Float32Array(rows.length * this.channels * area);
    rows.forEach((row, number) => {
      const image = this.fitted("dims" in row ? imageOf(row) : row);
      for (let channel = 0; channel < this.channels; channel += 1) {
        const start = (number * this.channels + channel) * area;
        for (let at = 0; at < area; at += 1) {
          const value = Math.fround(image.data[at * this.channels + channel] * this.scale[channel]);
          data[start + at] = value + this.shift[channel];
        }
      }
    });
    return { pixels: { type: "float32", dims, data } };
  }

  /**
   * Return an image of the model's channels and size.
   *
   * @param {Image} image
   * @returns {Image}
   */
  fitted(image) {
    return resized(withChannels(image, this.channels), this.height, this.width);
  }
}

/**
 * @param {import("../numpy.js").NumpyArray} array
 * @returns {Image}
 */
function imageOf(array) {
  const [height, width, channels = 1] = array.dims;
  if (array.dtype !== "uint8")
    throw new BundleError(`an image holds ${array.dtype}; uint8 is read`);
  return { height, width, channels, data: /** @type {Uint8Array} */ (array.data) };
}

/**
 * Return an image as gray (its luminance, as Pillow rounds it) or in color (the gray repeated).
 *
 * @param {Image} image
 * @param {number} channels
 * @returns {Image}
 */
function withChannels(image, channels) {
  if (image.channels === channels) return image;
  const { height, width } = image;
  const data = new Uint8Array(height * width * channels);
  for (let at = 0; at < height * width; at += 1) {
    const from = at * image.channels;
    const [red, green, blue] = image.data.subarray(from, from + 3);
    if (channels === 1) {
      data[at] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else if (image.channels === 1) {
      data.fill(image.data[from], at * 3, at * 3 + 3);
    } else {
      data.set([red, green, blue], at * 3);
    }
  }
  return { height, width, channels, data };
}
