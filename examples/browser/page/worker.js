/** The worker: it passes each message to an engine, and sends the result back. */

import { BundleError } from "../lib/errors.js";
import { Engine } from "./engine.js";

const engine = new Engine();

self.addEventListener("message", async ({ data }) => {
  const { id, method, values } = data;
  try {
    const result = await /** @type {any} */ (engine)[method](...values);
    self.postMessage({ id, result });
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    self.postMessage({ id, error: { message, isExpected: error instanceof BundleError } });
  }
});

self.postMessage({ id: "ready" });
