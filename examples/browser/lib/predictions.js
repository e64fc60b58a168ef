/** Predictions from a model's first output; docs/bundle.md, "From outputs to predictions". */

import { byCodePoints } from "./strict_json.js";

/**
 * @typedef {{label: string, score: number}} Scored a label and its probability
 * @typedef {{label: null, score: number, rejected: true}} Rejected a row that gets no label: its
 *   most probable one is below `reject_below` of the manifest
 * @typedef {{dims: number[], data: Float32Array}} Output values by row
 * @typedef {Scored | Rejected | Scored[] | number | number[] | null} Value
 * @typedef {{value: Value, scores: Scored[]}} Prediction the prediction in the form of bmc.load,
 *   null where an output is not finite; and the probabilities of all labels, most probable first
 */

/**
 * Return the prediction of each row.
 *
 * @param {import("./manifest.js").Manifest} manifest
 * @param {Output} output
 * @returns {Prediction[]}
 */
export function predictionsOf(manifest, output) {
  return rowsOf(output).map((row) => {
    const scores = scoresOf(manifest, row);
    return { value: row.every(Number.isFinite) ? valueOf(manifest, row, scores) : null, scores };
  });
}

/**
 * Return the values of each row.
 *
 * @param {Output} output
 * @returns {number[][]}
 */
export function rowsOf(output) {
  const [count] = output.dims;
  const size = output.data.length / count;
  return Array.from({ length: count }, (_, row) =>
    Array.from(output.data.subarray(row * size, (row + 1) * size)),
  );
}

/**
 * Return the label of a prediction as golden.json writes it.
 *
 * @param {Prediction} prediction
 * @returns {string}
 */
export function writtenLabel(prediction) {
  const { value } = prediction;
  const labels = (Array.isArray(value) ? value : [value]).map(
    (each) => /** @type {Scored} */ (each)?.label,
  );
  return labels.sort(byCodePoints).join("|");
}

/**
 * Return how much each output of a row may change without changing the row's label.
 *
 * @param {import("./manifest.js").Manifest} manifest
 * @param {number[]} row outputs of a row
 * @returns {number}
 */
export function marginOf(manifest, row) {
  if (manifest.task === "multilabel") {
    return Math.min(...row.map((value, label) => Math.abs(value - limitOf(manifest, label))));
  }
  const [first, second = -Infinity] = [...row].sort((left, right) => right - left);
  return (first - second) / 2;
}

/**
 * @param {import("./manifest.js").Manifest} manifest
 * @param {number[]} row
 * @param {Scored[]} scores
 * @returns {Value}
 */
function valueOf(manifest, row, scores) {
  switch (manifest.task) {
    case "classification":
      return orRejected(scores[0], manifest.reject_below ?? 0);
    case "multilabel": {
      const chosen = manifest.labels.filter((_, label) => row[label] > limitOf(manifest, label));
      return scores.filter(({ label }) => chosen.includes(label));
    }
    case "regression":
      return row[0];
    default:
      return row;
  }
}

/**
 * @param {Scored} best
 * @param {number} below
 * @returns {Scored | Rejected}
 */
function orRejected(best, below) {
  return best.score < below ? { label: null, score: best.score, rejected: true } : best;
}

/**
 * @param {import("./manifest.js").Manifest} manifest
 * @param {number[]} row
 * @returns {Scored[]}
 */
function scoresOf(manifest, row) {
  const { labels, task } = manifest;
  if (task !== "classification" && task !== "multilabel") return [];
  const probabilities = task === "classification" ? softmax(row) : row.map(sigmoid);
  const scores = labels.map((label, index) => ({ label, score: probabilities[index] }));
  return scores.sort((left, right) => right.score - left.score);
}

/**
 * Return the logit above which a label is predicted.
 *
 * @param {import("./manifest.js").Manifest} manifest
 * @param {number} label
 */
function limitOf(manifest, label) {
  const threshold = /** @type {number[]} */ (manifest.thresholds)[label];
  return Math.fround(Math.log(threshold / (1 - threshold)));
}

/** @param {number[]} row */
function softmax(row) {
  const largest = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - largest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** @param {number} value */
function sigmoid(value) {
  return 1 / (1 + Math.exp(-value));
}
