// @ts-check
/** The microphone: pieces of 40 ms at 24 kHz, for as long as it is open. */

const ASKED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

export class Microphone {
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {AudioContext | null} */ #context = null;
  level = 0;

  /**
   * Asks the user once. Throws an error with a sentence for the user.
   * @param {(samples: Int16Array) => void} take
   */
  async open(take) {
    if (!navigator.mediaDevices) {
      throw new Error("The browser gives the microphone only to pages on localhost or over https.");
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio: ASKED });
    } catch (error) {
      const isRefused = error instanceof DOMException && error.name === "NotAllowedError";
      throw new Error(isRefused ? "The microphone was not allowed." : "No microphone was found.");
    }
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("recorder.worklet.js", import.meta.url));
    const node = new AudioWorkletNode(this.#context, "recorder", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      this.level = loudness(data);
      take(data);
    };
    this.#context.createMediaStreamSource(this.#stream).connect(node);
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    this.#stream = this.#context = null;
    this.level = 0;
  }
}

/** 0 for silence to 1. @param {Int16Array} samples */
function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / samples.length / 2 ** 30 + 1e-10);
  return Math.max(0, Math.min(1, (db + 60) / 50));
}
