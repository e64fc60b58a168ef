/** The page: it loads a bundle, and answers while its user types, chooses files or speaks. */

import { BundleError } from "../lib/errors.js";
import { checkBrowser, hasGpu } from "../lib/runtime.js";
import { connect } from "./connect.js";
import { readImage } from "./images.js";
import { at, showCheck, showInfo, showNothing, showPrediction, showProblem } from "./show.js";
import { listen, readClip } from "./sounds.js";

const query = new URLSearchParams(location.search);
const address = query.get("bundle") ?? BMC_BUNDLE;
/** @type {any} the newest row; undefined where there is none */
let newest;
let isBusy = false;

window.bmc = { ready: start() };

/** Load the bundle, and show what it takes; the result is for machines. */
async function start() {
  try {
    checkBrowser();
    const connection = await connect();
    const info = await load(connection, "wasm");
    window.bmc.engine = connection.engine;
    showInput(info, connection);
    if (BMC_WEBGPU && (await hasGpu())) offerGpu(connection);
    else at("gpu").parentElement?.remove();
    at("check").addEventListener("click", () => runCheck(connection));
    at("tools").hidden = false;
    return { info, isWorker: connection.isWorker, problem: null };
  } catch (error) {
    at("about").textContent = address;
    showProblem(error);
    return { info: null, isWorker: null, problem: /** @type {Error} */ (error).message };
  }
}

/**
 * @param {import("./connect.js").Connection} connection
 * @param {import("../lib/runtime.js").Device} device
 */
async function load({ engine, isWorker }, device) {
  const chosen = Number(query.get("threads")) || undefined;
  const threads = isWorker ? chosen : 1; // threads of WebAssembly are workers
  const url = new URL(address, location.href);
  // The page's policy does not bind its worker, which would download a model from anywhere.
  if (url.origin !== location.origin) {
    throw new BundleError(`${url.href} is on another server: put the bundle on that of this page`);
  }
  const info = await engine.load(url.href, {
    assets: new URL(".", import.meta.url).href,
    device,
    threads,
  });
  showInfo(info, isWorker);
  return info;
}

/**
 * @param {import("./engine.js").Info} info
 * @param {import("./connect.js").Connection} connection
 */
function showInput({ preprocessing }, connection) {
  const { kind, samples } = preprocessing;
  const predict = (/** @type {any} */ row) => answer(connection, row);
  if (kind === "text") takeTexts(preprocessing.columns, predict);
  if (kind === "image") takeFiles("An image", "image/*", readImage, predict);
  if (kind === "audio") {
    takeFiles("A sound", "audio/*", (file) => readClip(file, samples), predict);
    takeMicrophone(samples, predict);
  }
  at("form").addEventListener("submit", (event) => event.preventDefault());
  at("form").hidden = false;
}

/**
 * @param {number} columns
 * @param {(row: string[]) => void} predict
 */
function takeTexts(columns, predict) {
  const fields = ["text", "second"]
    .slice(0, columns)
    .map((id) => /** @type {HTMLTextAreaElement} */ (at(id)));
  const read = () => {
    const texts = fields.map((field) => field.value);
    if (texts.some((text) => text.trim())) return predict(texts);
    newest = undefined;
    showNothing();
  };
  for (const field of fields) field.addEventListener("input", read);
  at("second-input").hidden = columns < 2;
  at("text-input").hidden = false;
  fields[0].focus();
}

/**
 * @param {string} label
 * @param {string} accept
 * @param {(file: File) => Promise<any>} read
 * @param {(row: any) => void} predict
 */
function takeFiles(label, accept, read, predict) {
  const input = /** @type {HTMLInputElement} */ (at("file"));
  const picture = /** @type {HTMLImageElement} */ (at("picture"));
  at("file-label").textContent = label;
  input.accept = accept;
  input.addEventListener("change", async () => {
    const file = input.files?.[0];
    if (!file) return;
    URL.revokeObjectURL(picture.src);
    picture.hidden = !accept.startsWith("image");
    if (!picture.hidden) picture.src = URL.createObjectURL(file);
    try {
      const row = await read(file);
      if (input.files?.[0] === file) predict(row); // another file may have been chosen meanwhile
    } catch (error) {
      if (input.files?.[0] !== file) return;
      newest = undefined;
      showNothing();
      showProblem(error);
    }
  });
  at("file-input").hidden = false;
}

/**
 * @param {number} samples
 * @param {(row: Float32Array) => void} predict
 */
function takeMicrophone(samples, predict) {
  const button = /** @type {HTMLButtonElement} */ (at("listen"));
  /** @type {(() => void) | undefined} */
  let stop;
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true; // a second click would begin to listen again
    try {
      stop = stop ? void stop() : await listen(samples, predict);
      button.textContent = stop ? "Stop" : "Listen";
    } catch (error) {
      showProblem(error);
    }
    button.disabled = false;
  });
}

/**
 * Predict for a row, and then for the newest one that came meanwhile.
 *
 * @param {import("./connect.js").Connection} connection
 * @param {any} row
 */
async function answer({ engine }, row) {
  newest = row;
  if (isBusy) return;
  isBusy = true;
  let answered;
  while (newest !== undefined && newest !== answered) {
    answered = newest;
    const start = performance.now();
    try {
      const prediction = await engine.predict(answered);
      if (newest !== undefined) showPrediction(prediction, performance.now() - start);
    } catch (error) {
      showNothing();
      showProblem(error);
    }
  }
  isBusy = false;
}

/** @param {import("./connect.js").Connection} connection */
function offerGpu(connection) {
  const box = /** @type {HTMLInputElement} */ (at("gpu"));
  box.addEventListener("change", async () => {
    box.disabled = true;
    try {
      await load(connection, box.checked ? "webgpu" : "wasm");
      showProblem(null);
    } catch (error) {
      box.checked = !box.checked;
      showProblem(error);
    }
    box.disabled = false;
  });
}

/** @param {import("./connect.js").Connection} connection */
async function runCheck({ engine }) {
  const button = /** @type {HTMLButtonElement} */ (at("check"));
  button.disabled = true;
  at("verdict").textContent = "checking…";
  try {
    window.bmcCheck = await engine.check();
    showCheck(window.bmcCheck);
  } catch (error) {
    at("verdict").textContent = "";
    showProblem(error);
  }
  button.disabled = false;
}
