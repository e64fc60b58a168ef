// What build.mjs fills in.
declare const BMC_BUNDLE: string;
declare const BMC_WEBGPU: boolean;

// The scope of an audio worklet, which TypeScript's "dom" leaves out.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, type: new () => AudioWorkletProcessor): void;

interface Window {
  bmc: any;
  bmcCheck: any;
}
