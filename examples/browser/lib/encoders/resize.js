/**
 * Bilinear resizing as in Pillow 13: the filter grows when an image shrinks, sums are of integers,
 * and height or width comes first by Pillow's rule. A canvas resizes otherwise in each browser.
 */

const BITS = 22; // of the fraction of a weight
const HALF = 2 ** (BITS - 1);

/** @typedef {import("./image.js").Image} Image */

/**
 * Return an image of another size.
 *
 * @param {Image} image
 * @param {number} height
 * @param {number} width
 * @returns {Image}
 */
export function resized(image, height, width) {
  const rowsFirst = height < image.height && image.height - height > 2 * (image.width - width);
  return rowsFirst ? wide(high(image, height), width) : high(wide(image, width), height);
}

/**
 * @param {Image} image
 * @param {number} width
 * @returns {Image}
 */
function wide(image, width) {
  const { height, channels } = image;
  if (image.width === width) return image;
  const lines = { count: height, step: image.width * channels };
  const axis = { size: image.width, step: channels };
  return { ...image, width, data: alongAxis(image.data, lines, axis, width) };
}

/**
 * @param {Image} image
 * @param {number} height
 * @returns {Image}
 */
function high(image, height) {
  if (image.height === height) return image;
  const axis = { size: image.height, step: image.width * image.channels };
  return { ...image, height, data: alongAxis(image.data, { count: 1, step: 0 }, axis, height) };
}

/**
 * Resize along one axis.
 *
 * @param {Uint8Array} data
 * @param {{count: number, step: number}} lines what is resized alike, and values between two of it
 * @param {{size: number, step: number}} axis pixels along the axis, and values between two of them
 * @param {number} size pixels along the axis afterwards
 * @returns {Uint8Array}
 */
function alongAxis(data, lines, axis, size) {
  const weights = weightsOf(axis.size, size);
  const inner = axis.step;
  const result = new Uint8Array(lines.count * size * inner);
  for (let line = 0; line < lines.count; line += 1) {
    for (let at = 0; at < size; at += 1) {
      const { start, values } = weights[at];
      const from = line * lines.step + start * inner;
      for (let value = 0; value < inner; value += 1) {
        let sum = HALF;
        for (let tap = 0; tap < values.length; tap += 1) {
          sum += data[from + tap * inner + value] * values[tap];
        }
        result[(line * size + at) * inner + value] = Math.min(sum >> BITS, 255);
      }
    }
  }
  return result;
}

/**
 * Return for each pixel the first pixel that it is made of, and the weights from there on.
 *
 * @param {number} from pixels before
 * @param {number} to pixels afterwards
 * @returns {{start: number, values: number[]}[]}
 */
function weightsOf(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, index) => {
    const center = (index + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const stop = Math.min(Math.trunc(center + support + 0.5), from);
    const values = Array.from({ length: stop - start }, (_, tap) =>
      Math.max(0, 1 - Math.abs((tap + start - center + 0.5) * (1 / support))),
    );
    const total = values.reduce((sum, value) => sum + value, 0);
    return { start, values: values.map((value) => Math.trunc(0.5 + (value / total) * 2 ** BITS)) };
  });
}
