// @ts-check
/** Takes what the microphone hears, at 24 kHz in 16 bits, and posts it in pieces of 40 ms. */

const RATE_HZ = 24_000;
const PIECE = (RATE_HZ * 40) / 1_000;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
    this.at = 0; // where the next sample lies between the last two of the input
    this.last = 0;
  }

  /** @param {Float32Array[][]} inputs @returns {boolean} */
  process(inputs) {
    const input = inputs[0]?.[0];
    if (!input) return true;
    const step = sampleRate / RATE_HZ;
    for (const sample of input) {
      for (; this.at < 1; this.at += step) this.add(this.last + (sample - this.last) * this.at);
      this.at -= 1;
      this.last = sample;
    }
    return true;
  }

  /** @param {number} sample */
  add(sample) {
    this.piece[this.filled++] = Math.max(-32_768, Math.min(32_767, Math.round(sample * 32_767)));
    if (this.filled < PIECE) return;
    this.port.postMessage(this.piece.slice());
    this.filled = 0;
  }
}

registerProcessor("recorder", Recorder);
