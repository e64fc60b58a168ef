/** Uncompressed .wav files: any rate, depth and number of channels become mono samples. */

import { BundleError } from "./errors.js";

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * Return the mean of the channels of a .wav file, or null for a file of another format.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {{rate: number, samples: Float32Array} | null}
 * @throws {BundleError} the file is damaged
 */
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength < 12 || tagAt(view, 0) !== "RIFF" || tagAt(view, 8) !== "WAVE") return null;
  const chunks = chunksOf(view);
  const format = chunks.get("fmt ");
  const data = chunks.get("data");
  if (!format || format.length < 16 || !data) throw damaged("it has no samples");
  const kind = view.getUint16(format.start, true);
  const code = kind === EXTENSIBLE ? view.getUint16(format.start + 24, true) : kind;
  const channels = view.getUint16(format.start + 2, true);
  const rate = view.getUint32(format.start + 4, true);
  const bits = view.getUint16(format.start + 14, true);
  const read = readerOf(view, code, bits);
  const width = bits / 8;
  const frames = Math.floor(data.length / (width * channels));
  if (!channels || !rate || !frames) throw damaged("it has no samples");
  const samples = new Float32Array(frames);
  for (let frame = 0; frame < frames; frame += 1) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) {
      sum = Math.fround(sum + read(data.start + (frame * channels + channel) * width));
    }
    samples[frame] = sum / channels;
  }
  return { rate, samples };
}

/**
 * Return the function that reads the sample at a byte, in -1..1.
 *
 * @param {DataView} view
 * @param {number} code
 * @param {number} bits
 * @returns {(at: number) => number}
 */
function readerOf(view, code, bits) {
  switch (`${code} ${bits}`) {
    case `${PCM} 8`:
      return (at) => (view.getUint8(at) - 128) / 128;
    case `${PCM} 16`:
      return (at) => view.getInt16(at, true) / 2 ** 15;
    case `${PCM} 24`:
      return (at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23;
    case `${PCM} 32`:
      return (at) => view.getInt32(at, true) / 2 ** 31;
    case `${FLOAT} 32`:
      return (at) => view.getFloat32(at, true);
    case `${FLOAT} 64`:
      return (at) => view.getFloat64(at, true);
    default:
      throw damaged(`its format ${code} with ${bits} bits is not read`);
  }
}

/** @param {DataView} view */
function chunksOf(view) {
  /** @type {Map<string, {start: number, length: number}>} */
  const chunks = new Map();
  for (let at = 12; at + 8 <= view.byteLength;) {
    const length = view.getUint32(at + 4, true);
    const start = at + 8;
    chunks.set(tagAt(view, at), { start, length: Math.min(length, view.byteLength - start) });
    at = start + length + (length % 2);
  }
  return chunks;
}

/**
 * @param {DataView} view
 * @param {number} at
 */
function tagAt(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));
}

/** @param {string} reason */
function damaged(reason) {
  return new BundleError(`the .wav file cannot be read (${reason}): save it with 16 bits`);
}
