/** The connection to an engine: in a worker, so that the page stays responsive, where it can. */

import { BundleError } from "../lib/errors.js";

const PATIENCE_MS = 10_000;

/**
 * @typedef {import("./engine.js").Engine} Engine
 * @typedef {{engine: Pick<Engine, "load" | "predict" | "encode" | "outputs" | "times" | "check">,
 *   isWorker: boolean}} Connection
 */

/**
 * Start an engine in a worker, or on the page's own thread where workers are blocked.
 *
 * @returns {Promise<Connection>}
 */
export async function connect() {
  try {
    return { engine: /** @type {any} */ (remote(await startWorker())), isWorker: true };
  } catch {
    const { Engine } = await import("./engine.js");
    return { engine: new Engine(), isWorker: false };
  }
}

/** @returns {Promise<Worker>} */
function startWorker() {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    const stop = () => {
      worker.terminate();
      reject(new Error("the worker did not start"));
    };
    const timer = setTimeout(stop, PATIENCE_MS);
    worker.addEventListener("error", stop, { once: true });
    worker.addEventListener(
      "message",
      () => {
        clearTimeout(timer);
        worker.removeEventListener("error", stop);
        resolve(worker);
      },
      { once: true },
    );
  });
}

/**
 * Return an object whose methods are those of the worker's engine.
 *
 * @param {Worker} worker
 */
function remote(worker) {
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  let last = 0;
  worker.addEventListener("message", ({ data }) => {
    const { id, result, error } = data;
    const { resolve, reject } = /** @type {any} */ (waiting.get(id));
    waiting.delete(id);
    if (!error) resolve(result);
    else reject(error.isExpected ? new BundleError(error.message) : new Error(error.message));
  });
  worker.addEventListener("error", (event) => {
    for (const { reject } of waiting.values())
      reject(new Error(`the worker ended: ${event.message}`));
    waiting.clear();
  });
  const call = (/** @type {string} */ method, /** @type {any[]} */ values) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      worker.postMessage({ id: last, method, values });
    });
  // A proxy must not look like a promise, which await would call.
  const get = (/** @type {any} */ _, /** @type {string} */ method) =>
    method === "then" ? undefined : (/** @type {any[]} */ ...values) => call(method, values);
  return new Proxy({}, { get });
}
