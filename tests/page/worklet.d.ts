// What scripts of the audio thread find there. TypeScript's own library does not have it.
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, kind: new (options: any) => AudioWorkletProcessor): void;
declare const currentTime: number;
declare const sampleRate: number;
