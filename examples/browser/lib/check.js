/** The check of a bundle in a browser: its golden rows and outputs, and the latency. */

import { marginOf, predictionsOf, rowsOf, writtenLabel } from "./predictions.js";

const INPUT_TOLERANCE = 1e-4; // share of the largest value, at least 1
const OUTPUT_TOLERANCE = { fp32: 0.002, other: 0.1 }; // share of the scale of the outputs
const WARM_UP = 10;
const RUNS = 50;

/**
 * @typedef {object} Difference the first difference from the golden rows
 * @property {"input" | "output" | "label"} what
 * @property {string} name name of the tensor, or "label"
 * @property {number} row number of the golden row, from 0
 * @property {number | null} index index of the value in the row; null where the shape differs
 * @property {any} expected
 * @property {any} found
 *
 * @typedef {object} CheckResult
 * @property {boolean} ok
 * @property {string} bundle name of the model
 * @property {string} precision
 * @property {string | null} digest sha256 of the manifest
 * @property {number} rows number of golden rows
 * @property {number | null} max_error largest change of an output; null where it is not finite
 * @property {number} allowed largest change that passes
 * @property {Difference | null} first_difference
 * @property {string} version name and version of the runtime
 * @property {{device: string, threads: number, precision: string}} execution
 * @property {number} p50_ms median time from a row to its prediction, in milliseconds
 * @property {number} run_p50_ms median time of the model alone
 * @property {number} runs number of timed runs
 * @property {string} browser
 */

/**
 * Check a model, and measure its latency for the first golden row.
 *
 * @param {import("./model.js").Model} model
 * @returns {Promise<CheckResult>}
 */
export async function check(model) {
  const { manifest } = model.bundle;
  const golden = await model.bundle.golden();
  const allowed = allowedChange(manifest, golden);
  const inputs = model.encoder.batch(golden.rows);
  const outputs = await model.run(tensorsOf(golden.inputs));
  const difference =
    inputDifference(golden, inputs) ??
    outputDifference(manifest, golden, outputs, allowed) ??
    labelDifference(manifest, golden, await model.firstOutput(golden.rows), allowed);
  const changes = [...golden.outputs].map(([name, array]) => changeOf(outputs.get(name), array));
  const largest = Math.max(...changes.map((change) => (Number.isNaN(change) ? Infinity : change)));
  const times = await latency(model, golden.rows[0]);
  return {
    ok: difference === null,
    bundle: manifest.name,
    precision: manifest.precision,
    digest: manifest.digest ?? null,
    rows: golden.rows.length,
    max_error: Number.isFinite(largest) ? largest : null,
    allowed,
    first_difference: difference,
    version: `onnxruntime-web ${model.runtime.ort.env.versions.web}`,
    execution: {
      device: model.runtime.device,
      threads: model.runtime.threads,
      precision: manifest.precision,
    },
    ...times,
    browser: globalThis.navigator?.userAgent ?? "",
  };
}

/**
 * @param {import("./model.js").Model} model
 * @param {any} row
 */
async function latency(model, row) {
  await model.times(Array(WARM_UP).fill(row));
  const { predict, run } = await model.times(Array(RUNS).fill(row));
  return { p50_ms: median(predict), run_p50_ms: median(run), runs: RUNS };
}

/** @param {number[]} values */
function median(values) {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1]) / 2;
}

/**
 * @param {import("./bundle.js").Golden} golden
 * @param {Record<string, import("./encoders/index.js").Tensor>} inputs
 * @returns {Difference | null}
 */
function inputDifference(golden, inputs) {
  for (const [name, expected] of golden.inputs) {
    const isFloat = expected.dtype.startsWith("float");
    const allowed = isFloat ? INPUT_TOLERANCE * Math.max(1, largestOf(expected.data)) : 0;
    const difference = firstDifference("input", name, expected, inputs[name], allowed);
    if (difference) return difference;
  }
  return null;
}

/**
 * @param {import("./manifest.js").Manifest} manifest
 * @param {import("./bundle.js").Golden} golden
 * @param {Map<string, import("./predictions.js").Output>} outputs
 * @param {number} allowed
 * @returns {Difference | null}
 */
function outputDifference(manifest, golden, outputs, allowed) {
  for (const { name } of manifest.outputs) {
    const expected = golden.outputs.get(name);
    if (!expected) continue;
    const difference = firstDifference("output", name, expected, outputs.get(name), allowed);
    if (difference) return difference;
  }
  return null;
}

/**
 * Compare labels; a change that is allowed may alter those of rows near a limit.
 *
 * @param {import("./manifest.js").Manifest} manifest
 * @param {import("./bundle.js").Golden} golden
 * @param {import("./predictions.js").Output} output
 * @param {number} allowed
 * @returns {Difference | null}
 */
function labelDifference(manifest, golden, output, allowed) {
  if (!golden.labels.length) return null;
  const recorded = rowsOf(/** @type {any} */ (golden.outputs.get(manifest.outputs[0].name)));
  // Golden rows have their labels also where the bundle rejects them.
  const found = predictionsOf({ ...manifest, reject_below: null }, output).map(writtenLabel);
  const row = golden.labels.findIndex(
    (label, number) => found[number] !== label && marginOf(manifest, recorded[number]) > allowed,
  );
  if (row < 0) return null;
  const labels = { expected: golden.labels[row], found: found[row] };
  return { what: "label", name: "label", row, index: null, ...labels };
}

/**
 * @param {"input" | "output"} what
 * @param {string} name
 * @param {import("./numpy.js").NumpyArray} expected
 * @param {{dims: number[], data: any} | undefined} found
 * @param {number} allowed
 * @returns {Difference | null}
 */
function firstDifference(what, name, expected, found, allowed) {
  if (String(found?.dims) !== String(expected.dims)) {
    const dims = { expected: expected.dims, found: found?.dims ?? null };
    return { what, name, row: 0, index: null, ...dims };
  }
  const values = Array.from(/** @type {ArrayLike<any>} */ (expected.data), Number);
  const others = Array.from(/** @type {any} */ (found).data, Number);
  const at = values.findIndex((value, index) => !(Math.abs(value - others[index]) <= allowed));
  if (at < 0) return null;
  const size = values.length / expected.dims[0];
  const place = { row: Math.floor(at / size), index: at % size };
  return { what, name, ...place, expected: values[at], found: others[at] };
}

/**
 * @param {{data: any} | undefined} found
 * @param {import("./numpy.js").NumpyArray} expected
 */
function changeOf(found, expected) {
  const values = Array.from(/** @type {ArrayLike<any>} */ (expected.data), Number);
  const differences = values.map((value, index) => Math.abs(value - Number(found?.data[index])));
  return differences.reduce((largest, value) => (value <= largest ? largest : value), 0);
}

/**
 * @param {import("./manifest.js").Manifest} manifest
 * @param {import("./bundle.js").Golden} golden
 */
function allowedChange(manifest, golden) {
  const share = manifest.precision === "fp32" ? OUTPUT_TOLERANCE.fp32 : OUTPUT_TOLERANCE.other;
  const arrays = [...golden.outputs.values()];
  return (
    share * (manifest.parity.scale ?? Math.max(1, ...arrays.map(({ data }) => largestOf(data))))
  );
}

/** @param {import("./numpy.js").Values} values */
function largestOf(values) {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(Number(value)));
  return largest;
}

/** @param {Map<string, import("./numpy.js").NumpyArray>} arrays */
function tensorsOf(arrays) {
  const entries = [...arrays].map(([name, { dtype, dims, data }]) => [
    name,
    { type: dtype, dims, data },
  ]);
  return Object.fromEntries(entries);
}
