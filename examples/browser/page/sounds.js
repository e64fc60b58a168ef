/** Sound files and the microphone become clips at the model's rate. */

import { RATE } from "../lib/encoders/audio.js";
import { BundleError } from "../lib/errors.js";
import { resampled } from "../lib/resample.js";
import { readWav } from "../lib/wav.js";

/**
 * Return the start of a sound file, mono at 16 kHz.
 *
 * A .wav file is read as bmc reads it; other formats are decoded, and resampled, by the browser.
 *
 * @param {Blob} file
 * @param {number} samples samples of a clip
 * @returns {Promise<Float32Array>}
 * @throws {BundleError} the browser cannot read the file
 */
export async function readClip(file, samples) {
  const content = await file.arrayBuffer();
  const sound = readWav(new Uint8Array(content));
  if (!sound) return (await decoded(content)).slice(0, samples);
  const needed = Math.ceil((samples * sound.rate) / RATE);
  return resampled(sound.samples.subarray(0, needed), sound.rate, RATE);
}

/**
 * Listen to the microphone.
 *
 * @param {number} samples samples of a clip
 * @param {(clip: Float32Array) => void} hear called with the last clip, ten times a second, once a
 *   whole clip was heard
 * @returns {Promise<() => void>} a function that stops listening
 * @throws {BundleError} there is no microphone, or the page may not use it
 */
export async function listen(samples, hear) {
  const stream = await microphone();
  const take = lastClips(samples, hear);
  /** @type {AudioContext | undefined} */
  let context;
  const stop = () => {
    for (const track of stream.getTracks()) track.stop();
    context?.close();
  };
  try {
    context = new AudioContext({ sampleRate: RATE });
    await context.audioWorklet.addModule(new URL("./recorder.js", import.meta.url));
    const recorder = new AudioWorkletNode(context, "bmc-recorder", { numberOfOutputs: 0 });
    context.createMediaStreamSource(stream).connect(recorder);
    recorder.port.onmessage = ({ data }) => take(data);
  } catch (error) {
    stop();
    throw error;
  }
  return stop;
}

/**
 * Return a function that takes pieces of sound, and passes on the last clip ten times a second.
 *
 * Nothing is passed on before a whole clip was heard: a clip that begins with silence is another.
 *
 * @param {number} samples samples of a clip
 * @param {(clip: Float32Array) => void} hear
 * @returns {(piece: Float32Array) => void}
 */
export function lastClips(samples, hear) {
  const clip = new Float32Array(samples);
  let heard = 0;
  let since = 0;
  return (piece) => {
    clip.copyWithin(0, piece.length);
    clip.set(piece.subarray(-samples), Math.max(0, samples - piece.length));
    heard += piece.length;
    since += piece.length;
    if (heard < samples || since < RATE / 10) return;
    since = 0;
    hear(clip.slice());
  };
}

async function microphone() {
  try {
    const raw = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...raw } });
  } catch (error) {
    throw new BundleError(
      `the microphone cannot be used (${/** @type {Error} */ (error).message}): allow it for ` +
        "this page, or choose a file",
    );
  }
}

/** @param {ArrayBuffer} content */
async function decoded(content) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(content);
  } catch {
    throw new BundleError("the file is not a sound that this browser reads: save it as .wav");
  }
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((value, at) => {
      mono[at] += value / sound.numberOfChannels;
    });
  }
  return mono;
}
