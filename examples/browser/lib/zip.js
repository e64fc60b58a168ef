/** Zip archives: .npz files and packed bundles (.bmc). */

import { BundleError } from "./errors.js";

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
const MAX_UNPACKED = 512 * 2 ** 20;

/** @typedef {{name: string, method: number, start: number, packed: number, size: number}} Entry */

/**
 * Return the files of an archive by name.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {string} what the archive's name in messages
 * @returns {Map<string, Entry>}
 * @throws {BundleError} it is not an archive, holds a name twice, or unpacks to too much
 */
export function entriesOf(bytes, what) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries = new Map();
  let unpacked = 0;
  try {
    for (const entry of directory(view)) {
      if (entries.has(entry.name)) throw new BundleError(`${what} holds ${entry.name} twice`);
      unpacked += entry.size;
      entries.set(entry.name, entry);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new BundleError(`${what} is not a complete zip archive; download it again`);
  }
  if (unpacked > MAX_UNPACKED) throw new BundleError(`${what} takes ${unpacked} bytes unpacked`);
  return entries;
}

/**
 * Return the content of a file.
 *
 * @param {Uint8Array<ArrayBuffer>} bytes the archive
 * @param {Entry} entry
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 * @throws {BundleError} the file is damaged
 */
export async function unpack(bytes, entry) {
  const packed = bytes.subarray(entry.start, entry.start + entry.packed);
  const content = entry.method === STORED ? packed : await inflated(packed, entry);
  if (content.length !== entry.size) throw damaged(entry);
  return content;
}

/**
 * @param {DataView} view
 * @returns {Generator<Entry>}
 */
function* directory(view) {
  let end = view.byteLength - 22;
  while (view.getUint32(end, true) !== END) end -= 1; // a RangeError before the first byte
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  for (let number = 0; number < count; number += 1) {
    if (view.getUint32(at, true) !== ENTRY) throw new RangeError();
    const [nameLength, extra, comment] = [28, 30, 32].map((gap) => view.getUint16(at + gap, true));
    const name = textOf(view, at + 46, nameLength);
    const method = view.getUint16(at + 10, true);
    if (method !== STORED && method !== DEFLATED) {
      throw new BundleError(`${name} has the compression ${method}, which is not read`);
    }
    const [packed, size, local] = [20, 24, 42].map((gap) => view.getUint32(at + gap, true));
    if (view.getUint32(local, true) !== LOCAL) throw new RangeError();
    const header = 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const start = local + header;
    if (start + packed > view.byteLength) throw new RangeError();
    yield { name, method, start, packed, size };
    at += 46 + nameLength + extra + comment;
  }
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} length
 */
function textOf(view, start, length) {
  if (start + length > view.byteLength) throw new RangeError();
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + start, length));
}

/**
 * @param {Uint8Array<ArrayBuffer>} packed
 * @param {Entry} entry
 */
async function inflated(packed, entry) {
  const content = new Uint8Array(entry.size);
  let filled = 0;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (filled + part.value.length > entry.size) throw damaged(entry);
      content.set(part.value, filled);
      filled += part.value.length;
    }
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw damaged(entry);
  }
  return content.subarray(0, filled);
}

/** @param {Entry} entry */
function damaged(entry) {
  return new BundleError(`${entry.name} in the archive is damaged; download it again`);
}
