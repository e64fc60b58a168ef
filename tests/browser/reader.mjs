/** Runs the example's library on cases from stdin: node reader.mjs FOLDER < cases.json */

import path from "node:path";
import { json } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const load = (name) => import(pathToFileURL(path.join(process.argv[2], "lib", name)));
const { RowTokenizer } = await load("tokenizer.js");
const { encoderOf } = await load("encoders/index.js");
const { TextEncoder } = await load("encoders/text.js");
const { ImageEncoder } = await load("encoders/image.js");
const { readManifest } = await load("manifest.js");
const { predictionsOf } = await load("predictions.js");
const { parseObject } = await load("strict_json.js");
const { readWav } = await load("wav.js");
const { resampled } = await load("resample.js");
const { Model } = await load("model.js");
const { lastClips } = await load("../page/sounds.js");

const bytes = (base64) => Uint8Array.from(Buffer.from(base64, "base64"));

const actions = {
  tokens: ({ content, rows, length, side }) => {
    const tokenizer = new RowTokenizer(content);
    return rows.map((row) => tokenizer.encode(row, length, side));
  },
  tensors: ({ settings, content, rows }) => {
    const tensors = Object.entries(new TextEncoder(settings, content).batch(rows));
    return tensors.map(([name, { dims, data }]) => [name, dims, Array.from(data, Number)]);
  },
  kind: async ({ settings }) => (await encoderOf(settings, async () => new Uint8Array())).kind,
  pixels: ({ settings, image }) => {
    const row = { ...image, data: bytes(image.data) };
    return Array.from(new ImageEncoder(settings).batch([row]).pixels.data);
  },
  clip: ({ file, rate }) => {
    const sound = readWav(bytes(file));
    return Array.from(resampled(sound.samples, sound.rate, rate));
  },
  predictions: ({ manifest, rows }) => {
    const output = { dims: [rows.length, rows[0].length], data: Float32Array.from(rows.flat()) };
    return predictionsOf(manifest, output).map(({ value }) => value);
  },
  manifest: ({ text }) => readManifest(Uint8Array.from(Buffer.from(text)), "bundle"),
  calls: async ({ count }) => {
    let running = 0;
    const events = [];
    const ort = { Tensor: class {} };
    const session = {
      run: async () => {
        running += 1;
        events.push(running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running -= 1;
        if (events.length === 2) throw new Error("the second call fails");
        return {};
      },
      release: async () => events.push(running ? "released too early" : "released"),
    };
    const model = new Model(undefined, { ort }, session, undefined);
    const calls = Array.from({ length: count }, () => model.run({}).then(() => "done", String));
    const closed = model.close();
    return [...(await Promise.all(calls)), await closed.then(() => events)];
  },
  clips: ({ samples, pieces }) => {
    const clips = [];
    const take = lastClips(samples, (clip) => clips.push(Array.from(clip)));
    let next = 1;
    for (const length of pieces) take(Float32Array.from({ length }, () => next++));
    return clips.map((clip) => [clip[0], clip.at(-1), clip.length]);
  },
  written: ({ text, without }) => parseObject(text).written(without),
};

const cases = await json(process.stdin);
const results = [];
for (const { action, ...values } of cases) {
  try {
    results.push({ result: await actions[action](values) });
  } catch (error) {
    results.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(results));
