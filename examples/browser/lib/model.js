/** A loaded bundle: rows in, predictions out. */

import { BundleError, shown } from "./errors.js";
import { predictionsOf, rowsOf } from "./predictions.js";

const ERRORS = 3; // of the levels of ONNX Runtime's log: no warnings

/**
 * @typedef {import("./encoders/index.js").Tensor} Tensor
 * @typedef {import("./predictions.js").Output} Output
 * @typedef {import("./predictions.js").Prediction} Prediction
 */

export class Model {
  /**
   * Load a bundle's model.
   *
   * @param {import("./bundle.js").Bundle} bundle
   * @param {import("./runtime.js").Runtime} runtime
   * @returns {Promise<Model>}
   * @throws {BundleError} the file is damaged, or has other inputs and outputs than the manifest
   */
  static async load(bundle, runtime) {
    const encoder = await bundle.encoder();
    const content = await bundle.read(bundle.manifest.model);
    /** @type {import("onnxruntime-web").InferenceSession.SessionOptions} */
    const options = { executionProviders: [runtime.device], logSeverityLevel: ERRORS };
    let session;
    try {
      session = await runtime.ort.InferenceSession.create(content, options);
    } catch (error) {
      throw new BundleError(
        `ONNX Runtime cannot load ${bundle.manifest.model}: ${reasonOf(error)}`,
      );
    }
    const { inputs, outputs } = bundle.manifest;
    try {
      checkNames("inputs", session.inputNames, inputs);
      checkNames("outputs", session.outputNames, outputs);
    } catch (error) {
      await session.release();
      throw error;
    }
    return new Model(bundle, runtime, session, encoder);
  }

  /**
   * @param {import("./bundle.js").Bundle} bundle
   * @param {import("./runtime.js").Runtime} runtime
   * @param {import("onnxruntime-web").InferenceSession} session
   * @param {import("./encoders/index.js").Encoder} encoder
   */
  constructor(bundle, runtime, session, encoder) {
    this.bundle = bundle;
    this.runtime = runtime;
    this.session = session;
    this.encoder = encoder;
    /** @type {Promise<unknown>} */
    this.running = Promise.resolve();
  }

  /**
   * Predict for one row.
   *
   * @param {any} row a text or a list of two, an image, or a clip, as its encoder takes it
   * @returns {Promise<Prediction>}
   * @throws {BundleError} the row does not fit the model
   */
  async predict(row) {
    const [prediction] = predictionsOf(this.bundle.manifest, await this.firstOutput([row]));
    return prediction;
  }

  /**
   * Return the first output of rows, computed one by one.
   *
   * @param {any[]} rows
   * @returns {Promise<number[][]>}
   */
  async outputs(rows) {
    const outputs = [];
    for (const row of rows) outputs.push(...rowsOf(await this.firstOutput([row])));
    return outputs;
  }

  /**
   * Return the milliseconds of one row after another: from the row to its prediction, and of the
   * model alone.
   *
   * @param {any[]} rows
   * @returns {Promise<{predict: number[], run: number[]}>}
   */
  async times(rows) {
    /** @type {{predict: number[], run: number[]}} */
    const times = { predict: [], run: [] };
    for (const row of rows) {
      const start = performance.now();
      const tensors = this.encoder.batch([row]);
      const encoded = performance.now();
      const outputs = await this.run(tensors);
      const computed = performance.now();
      predictionsOf(this.bundle.manifest, this.first(outputs));
      times.predict.push(performance.now() - start);
      times.run.push(computed - encoded);
    }
    return times;
  }

  /**
   * Compute the outputs of tensors, by name, after the calls before have ended: on a GPU, a call
   * that begins while another one waits would take its place, and the other would never end.
   *
   * @param {Record<string, {type: string, dims: number[], data: any}>} tensors
   * @returns {Promise<Map<string, Output>>}
   */
  run(tensors) {
    const outputs = this.running.then(() => this.compute(tensors));
    this.running = outputs.then(nothing, nothing);
    return outputs;
  }

  /**
   * @param {Record<string, {type: string, dims: number[], data: any}>} tensors
   * @returns {Promise<Map<string, Output>>}
   */
  async compute(tensors) {
    const { Tensor } = this.runtime.ort;
    const feeds = Object.entries(tensors).map(([name, { type, dims, data }]) => [
      name,
      new Tensor(/** @type {any} */ (type), data, dims),
    ]);
    const outputs = await this.session.run(Object.fromEntries(feeds));
    const entries = Object.entries(outputs).map(([name, { dims, data }]) => [name, { dims, data }]);
    return new Map(/** @type {any} */ (entries));
  }

  /** @param {any[]} rows */
  async firstOutput(rows) {
    return this.first(await this.run(this.encoder.batch(rows)));
  }

  /**
   * @param {Map<string, Output>} outputs
   * @returns {Output}
   */
  first(outputs) {
    return /** @type {Output} */ (outputs.get(this.bundle.manifest.outputs[0].name));
  }

  /**
   * Predict for a golden row, so that the first answer comes as fast as later ones. An error is not
   * thrown: the check, which reads the same files, tells it.
   */
  async warm() {
    try {
      const { rows } = await this.bundle.golden();
      await this.predict(rows[0]);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
    }
  }

  /** Free the model's memory, after the calls before have ended. */
  async close() {
    await this.running;
    await this.session.release();
  }
}

function nothing() {}

/**
 * @param {string} what
 * @param {readonly string[]} names
 * @param {import("./manifest.js").TensorInfo[]} tensors
 */
function checkNames(what, names, tensors) {
  const described = tensors.map((tensor) => tensor.name);
  if ([...names].sort().join("\n") !== described.sort().join("\n")) {
    throw new BundleError(
      `the model has the ${what} ${shown(names)}, and manifest.json says ${shown(described)}: ` +
        "export the bundle again",
    );
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  return String(error instanceof Error ? error.message : error).slice(0, 200);
}
