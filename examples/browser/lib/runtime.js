/** ONNX Runtime Web: what a browser must have, and how its WebAssembly is loaded. */

import { BundleError } from "./errors.js";

// (module (func (result v128) i32.const 0 i8x16.splat)): valid where WebAssembly has SIMD.
const SIMD_MODULE = [
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253],
  ...[15, 11],
];
const GZIP = [0x1f, 0x8b];
const MAX_THREADS = 4;

/**
 * @typedef {"wasm" | "webgpu"} Device
 * @typedef {{ort: typeof import("onnxruntime-web"), device: Device, threads: number}} Runtime
 */

/**
 * Refuse a browser that cannot run ONNX Runtime Web.
 *
 * @throws {BundleError} the browser has no WebAssembly, or one without SIMD
 */
export function checkBrowser() {
  const hasWasm = typeof WebAssembly === "object";
  if (!hasWasm || !WebAssembly.validate(new Uint8Array(SIMD_MODULE))) {
    throw new BundleError(
      `this browser has ${hasWasm ? "WebAssembly without SIMD" : "no WebAssembly"}, and the ` +
        "model needs it with SIMD: update the browser (Chrome 91, Firefox 89, Safari 16.4 or " +
        "later), switch WebAssembly on, or ask a service (bmc serve)",
    );
  }
}

/**
 * Tell whether the browser offers a GPU.
 *
 * @returns {Promise<boolean>}
 */
export async function hasGpu() {
  const { gpu } = /** @type {any} */ (navigator);
  return Boolean(await gpu?.requestAdapter());
}

/**
 * Load ONNX Runtime Web.
 *
 * @param {{assets: URL, device: Device, threads?: number}} options folder of the built page; where
 *   the model runs; threads of WebAssembly, by default up to 4 where the page is cross-origin
 *   isolated
 * @returns {Promise<Runtime>}
 * @throws {BundleError} the browser lacks what the device needs
 */
export async function loadRuntime({ assets, device, threads = defaultThreads() }) {
  checkBrowser();
  if (device === "webgpu" && !(await hasGpu())) {
    throw new BundleError("this browser offers no GPU (WebGPU): compute on the CPU");
  }
  const isGpu = device === "webgpu";
  const ort = await (isGpu ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"));
  const name = isGpu ? "ort-wasm-simd-threaded.asyncify" : "ort-wasm-simd-threaded";
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { mjs: new URL(`ort/${name}.mjs`, assets).href };
  ort.env.wasm.wasmBinary = await unzipped(new URL(`ort/${name}.wasm.gz`, assets));
  return { ort, device, threads };
}

function defaultThreads() {
  return globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MAX_THREADS) : 1;
}

/**
 * Download a gzip file; servers that announce its compression have the browser unpack it.
 *
 * @param {URL} url
 */
async function unzipped(url) {
  const response = await fetch(url);
  if (!response.ok) {
    throw new BundleError(
      `${url.pathname} cannot be loaded: HTTP ${response.status}; build the page again`,
    );
  }
  const content = await response.arrayBuffer();
  const start = new Uint8Array(content, 0, 2);
  if (start[0] !== GZIP[0] || start[1] !== GZIP[1]) return content;
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
