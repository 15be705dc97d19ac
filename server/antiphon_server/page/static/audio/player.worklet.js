// @ts-check
/** Plays tracks of samples in step, in the audio thread: none moves without the others. Reports what it holds. */

const REPORT_EVERY = 8; // blocks of 128 samples

/** Samples in the order in which they came, in a ring that grows. */
class Ring {
  #samples = new Float32Array(1 << 16);
  #start = 0;
  length = 0;

  /** @param {Float32Array} more */
  push(more) {
    if (this.length + more.length > this.#samples.length) this.#grow(this.length + more.length);
    const size = this.#samples.length;
    const at = (this.#start + this.length) % size;
    const first = Math.min(more.length, size - at);
    this.#samples.set(more.subarray(0, first), at);
    this.#samples.set(more.subarray(first), 0);
    this.length += more.length;
  }

  /** @param {Float32Array} into as many as there are, at most as many as fit @returns {void} */
  pull(into) {
    const count = Math.min(into.length, this.length);
    const first = Math.min(count, this.#samples.length - this.#start);
    into.set(this.#samples.subarray(this.#start, this.#start + first), 0);
    into.set(this.#samples.subarray(0, count - first), first);
    this.#start = (this.#start + count) % this.#samples.length;
    this.length -= count;
  }

  /** @param {number} needed */
  #grow(needed) {
    let size = this.#samples.length;
    while (size < needed) size *= 2;
    const grown = new Float32Array(size);
    const { length } = this;
    this.pull(grown.subarray(0, length));
    this.#samples = grown;
    this.#start = 0;
    this.length = length;
  }
}

class Player extends AudioWorkletProcessor {
  /** @param {{ processorOptions: { tracks: number, startSamples: number } }} options */
  constructor({ processorOptions }) {
    super();
    this.tracks = Array.from({ length: processorOptions.tracks }, () => ({ ring: new Ring(), isComplete: false }));
    this.startSamples = processorOptions.startSamples;
    /** @type {"waiting" | "playing" | "ended"} */ this.state = "waiting";
    this.position = 0;
    this.underruns = 0;
    this.startedAt = 0;
    this.blocks = 0;
    this.isStopped = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  /** @param {{ kind: "push" | "complete" | "stop", track: number, samples: Float32Array }} message */
  take(message) {
    const track = this.tracks[message.track];
    if (message.kind === "stop") this.isStopped = true;
    else if (message.kind === "push") track?.ring.push(message.samples);
    else if (track) track.isComplete = true;
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs @returns {boolean} false: never again */
  process(_inputs, outputs) {
    if (this.isStopped) return false;
    if (this.state === "waiting" && this.tracks.every((one) => one.isComplete || one.ring.length >= this.startSamples)) {
      this.state = "playing";
      this.startedAt ||= currentTime;
    }
    if (this.state === "playing") this.play(outputs);
    if (this.blocks++ % REPORT_EVERY === 0 || this.state === "ended") this.report();
    return this.state !== "ended";
  }

  /** @param {Float32Array[][]} outputs */
  play(outputs) {
    const block = outputs[0]?.[0]?.length ?? 128;
    if (this.tracks.every((one) => one.isComplete && one.ring.length === 0)) {
      this.state = "ended";
      return;
    }
    if (this.tracks.some((one) => !one.isComplete && one.ring.length < block)) {
      this.underruns += 1;
      this.state = "waiting";
      this.report();
      return;
    }
    const played = Math.min(block, Math.max(...this.tracks.map((one) => one.ring.length)));
    this.tracks.forEach((one, index) => outputs[index]?.[0] && one.ring.pull(outputs[index][0]));
    this.position += played;
  }

  report() {
    const buffered = this.tracks.map((one) => one.ring.length);
    const { position, underruns, state, startedAt } = this;
    this.port.postMessage({ position, buffered, underruns, state, startedAt });
  }
}

registerProcessor("player", Player);
