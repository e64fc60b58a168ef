/** Arrays in numpy's format .npy. */

import { BundleError } from "./errors.js";
import { entriesOf, unpack } from "./zip.js";

const TYPES = {
  "|b1": { dtype: "bool", Values: Uint8Array },
  "|u1": { dtype: "uint8", Values: Uint8Array },
  "|i1": { dtype: "int8", Values: Int8Array },
  "<i2": { dtype: "int16", Values: Int16Array },
  "<i4": { dtype: "int32", Values: Int32Array },
  "<i8": { dtype: "int64", Values: BigInt64Array },
  "<f4": { dtype: "float32", Values: Float32Array },
  "<f8": { dtype: "float64", Values: Float64Array },
};
const MAGIC = "\x93NUMPY";

/**
 * @typedef {Uint8Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Float32Array |
 *   Float64Array} Values
 * @typedef {{dtype: string, dims: number[], data: Values}} NumpyArray values in C order
 */

/**
 * Return the arrays of an .npz file by name.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} what the file's name in messages
 * @returns {Promise<Map<string, NumpyArray>>}
 * @throws {BundleError} the file is damaged, or holds something else than plain arrays
 */
export async function readArrays(bytes, what) {
  const arrays = new Map();
  for (const entry of entriesOf(bytes, what).values()) {
    const name = entry.name.replace(/\.npy$/, "");
    arrays.set(name, arrayOf(await unpack(bytes, entry), `${what}: ${name}`));
  }
  return arrays;
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} what
 * @returns {NumpyArray}
 */
function arrayOf(bytes, what) {
  const latin = new TextDecoder("latin1");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || !startsWith(bytes, MAGIC))
    throw new BundleError(`${what} is not an array`);
  const isLong = bytes[6] > 1;
  const length = isLong ? view.getUint32(8, true) : view.getUint16(8, true);
  const start = (isLong ? 12 : 10) + length;
  const header = latin.decode(bytes.subarray(isLong ? 12 : 10, start));
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1] ?? "objects";
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  const type = TYPES[/** @type {keyof typeof TYPES} */ (descr)];
  if (!type || order !== "False" || shape === undefined) {
    throw new BundleError(`${what} holds ${descr}, which this page does not read`);
  }
  const dims = shape
    .split(",")
    .filter((size) => size.trim())
    .map(Number);
  const count = dims.reduce((product, size) => product * size, 1);
  const content = bytes.slice(start); // a copy begins at a multiple of 8 bytes
  if (content.length !== count * type.Values.BYTES_PER_ELEMENT) {
    throw new BundleError(`${what} has another length than its header says`);
  }
  return { dtype: type.dtype, dims, data: new type.Values(content.buffer) };
}

/**
 * @param {Uint8Array} bytes
 * @param {string} prefix
 */
function startsWith(bytes, prefix) {
  return Array.from(prefix).every((character, index) => character.charCodeAt(0) === bytes[index]);
}
