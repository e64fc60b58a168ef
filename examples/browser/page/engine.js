/** What a page asks a model for; it runs in a worker, or on the page's own thread. */

import { openBundle } from "../lib/bundle.js";
import { check } from "../lib/check.js";
import { BundleError } from "../lib/errors.js";
import { Model } from "../lib/model.js";
import { loadRuntime } from "../lib/runtime.js";

/**
 * @typedef {object} Info what a page shows of a bundle
 * @property {string} name
 * @property {string} task
 * @property {string} precision
 * @property {string[]} labels
 * @property {Record<string, any>} preprocessing
 * @property {string} device
 * @property {number} threads
 */

export class Engine {
  constructor() {
    /** @type {Model | undefined} */
    this.loaded = undefined;
  }

  /**
   * Load a bundle. The one before is freed, or stays where the new one cannot be loaded.
   *
   * @param {string} address
   * @param {{assets: string, device: import("../lib/runtime.js").Device, threads?: number}} options
   * @returns {Promise<Info>}
   */
  async load(address, { assets, device, threads }) {
    const bundle = await openBundle(address);
    const runtime = await loadRuntime({ assets: new URL(assets), device, threads });
    const model = await Model.load(bundle, runtime);
    try {
      // One WebAssembly module computes one call at a time, also of two models.
      const warmed = Promise.resolve(this.loaded?.running).then(() => model.warm());
      if (this.loaded) this.loaded.running = warmed.catch(() => {});
      await warmed; // a GPU may create a session, and fail at its first call
    } catch (error) {
      await model.close().catch(() => {}); // of a lost GPU; the first error says more
      throw error;
    }
    const before = this.loaded;
    this.loaded = model;
    await before?.close();
    const { name, task, precision, labels, preprocessing } = bundle.manifest;
    return { name, task, precision, labels, preprocessing, device, threads: runtime.threads };
  }

  /** @param {any} row */
  predict(row) {
    return this.model.predict(row);
  }

  /** @param {any[]} rows */
  encode(rows) {
    return this.model.encoder.batch(rows);
  }

  /** @param {any[]} rows */
  outputs(rows) {
    return this.model.outputs(rows);
  }

  /** @param {any[]} rows */
  times(rows) {
    return this.model.times(rows);
  }

  check() {
    return check(this.model);
  }

  get model() {
    if (!this.loaded) throw new BundleError("no bundle is loaded");
    return this.loaded;
  }
}
