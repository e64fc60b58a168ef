/** What the page shows. */

import { BundleError } from "../lib/errors.js";

const MAX_SCORES = 10;
const MAX_NUMBERS = 8;

/** @param {string} id */
export function at(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * @param {import("./engine.js").Info} info
 * @param {boolean} isWorker
 */
export function showInfo(info, isWorker) {
  const threads = `${info.threads} thread${info.threads > 1 ? "s" : ""}`;
  const device = info.device === "webgpu" ? "the GPU" : `the CPU, ${threads}`;
  const where = isWorker ? "" : "; workers are blocked, so that the page waits for each answer";
  document.title = info.name;
  at("name").textContent = info.name;
  at("about").textContent = `${info.task}, ${info.precision}, on ${device}${where}`;
}

/**
 * Show an error; an empty message hides the last one.
 *
 * @param {unknown} error
 */
export function showProblem(error) {
  const { message } = /** @type {Error} */ (error ?? { message: "" });
  const isExpected = !error || error instanceof BundleError;
  at("problem").textContent = isExpected ? message : `something unexpected happened: ${message}`;
  at("problem").hidden = !message;
}

/**
 * @param {import("../lib/predictions.js").Prediction} prediction
 * @param {number} milliseconds
 */
export function showPrediction(prediction, milliseconds) {
  showProblem(null);
  at("answer").textContent = inWords(prediction.value);
  at("time").textContent = `${milliseconds.toFixed(1)} ms`;
  at("scores").replaceChildren(...prediction.scores.slice(0, MAX_SCORES).flatMap(line));
}

/** Remove the prediction. */
export function showNothing() {
  showProblem(null);
  for (const id of ["answer", "time", "scores"]) at(id).replaceChildren();
}

/** @param {import("../lib/check.js").CheckResult} result */
export function showCheck(result) {
  const json = JSON.stringify(result, null, 1);
  at("verdict").textContent = verdict(result);
  at("report").textContent = json;
  const link = /** @type {HTMLAnchorElement} */ (at("download"));
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  link.download = "check.json";
  for (const id of ["report", "download"]) at(id).hidden = false;
}

/** @param {import("../lib/check.js").CheckResult} result */
function verdict(result) {
  const speed = `p50 ${result.p50_ms.toFixed(2)} ms`;
  const difference = result.first_difference;
  if (!difference) {
    const [change, allowed] = [Number(result.max_error), result.allowed].map((each) =>
      each.toPrecision(2),
    );
    return (
      `right: the ${result.rows} golden rows get the outputs that they had at the export ` +
      `(largest change ${change}, allowed ${allowed}); ${speed}`
    );
  }
  const { what, name, row, index, expected, found } = difference;
  const value = index === null ? "" : `, value ${index}`;
  return (
    `wrong: ${what} ${what === name ? "" : name} of golden row ${row + 1}${value} is ` +
    `${JSON.stringify(found)}, and was ${JSON.stringify(expected)}; ${speed}`
  );
}

/** @param {import("../lib/predictions.js").Prediction["value"]} value */
function inWords(value) {
  if (value === null) return "no prediction: the model's output is not finite";
  if (typeof value === "number") return value.toPrecision(6);
  if (!Array.isArray(value)) return value.label ?? "rejected: no label is probable enough";
  if (!value.length) return "no label";
  if (typeof value[0] !== "number")
    return value.map((each) => /** @type {any} */ (each).label).join(", ");
  const numbers = value.slice(0, MAX_NUMBERS).map((each) => Number(each).toPrecision(3));
  return `${value.length} numbers: ${numbers.join(", ")}…`;
}

/** @param {import("../lib/predictions.js").Scored} scored */
function line({ label, score }) {
  const [name, bar, number] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
  const meter = document.createElement("meter");
  meter.value = score;
  bar.append(meter);
  name.textContent = label;
  number.textContent = score.toFixed(3);
  return [name, bar, number];
}
