/** The recorder, on the browser's thread for sound: it sends what the microphone gives. */

class Recorder extends AudioWorkletProcessor {
  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
}

registerProcessor("bmc-recorder", Recorder);
