// @ts-check
/** The microphone: pieces of 40 ms at 24 kHz, for as long as it is open. */

const ASKED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

export class Microphone {
  /** @type {MediaStream | null} */ #stream = null;
  /** @type {AudioContext | null} */ #context = null;

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
    node.port.onmessage = ({ data }) => take(data);
    this.#context.createMediaStreamSource(this.#stream).connect(node);
  }

  close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close();
    this.#stream = this.#context = null;
  }
}
