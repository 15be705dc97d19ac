// @ts-check
/** A player of one or two runs in step. Its reports are what the captions and the drawings follow. */

import { RATE_HZ } from "../run.js";
import { latency, openOutput } from "./output.js";
import { toFloats } from "./pcm.js";

/** @typedef {import("../run.js").Run} Run */
/** @typedef {import("../types").Report} Report */

const START_SAMPLES = RATE_HZ * 0.08;

export class Player {
  /** @type {Report} */ report = { position: 0, buffered: [], underruns: 0, state: "waiting", startedAt: 0 };
  /** @type {GainNode[]} */ gains = [];
  /** @type {AudioWorkletNode | null} */ #node = null;
  /** @type {AudioContext | null} */ #context = null;
  /** @type {(() => void)[]} */ #unwatch = [];
  /** @type {Set<(report: Report) => void>} */ #watchers = new Set();
  #reportedMs = 0;
  #isStopped = false;

  /** @param {Run[]} runs played as they come, or again from their beginning */
  constructor(runs) {
    this.runs = runs;
  }

  async start() {
    const context = await openOutput();
    if (this.#isStopped) return;
    this.#context = context;
    const tracks = this.runs.length;
    const node = new AudioWorkletNode(context, "player", {
      numberOfInputs: 0,
      numberOfOutputs: tracks,
      outputChannelCount: this.runs.map(() => 1),
      processorOptions: { tracks, startSamples: START_SAMPLES },
    });
    this.#node = node;
    this.gains = this.runs.map((_, index) => {
      const gain = context.createGain();
      node.connect(gain, index);
      gain.connect(context.destination);
      return gain;
    });
    node.port.onmessage = ({ data }) => this.#take(data);
    this.runs.forEach((run, track) => this.#follow(run, track));
  }

  /** Seconds of speech that have been heard. */
  get heardS() {
    const { position, state, startedAt } = this.report;
    if (!startedAt || !this.#context) return 0;
    const since = state === "playing" ? Math.min((performance.now() - this.#reportedMs) / 1e3, 0.1) : 0;
    return Math.max(position / RATE_HZ + since - latency(this.#context), 0);
  }

  get isPlaying() {
    return !this.#isStopped && this.report.state !== "ended";
  }

  /** Ends it at once. */
  stop() {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#node?.port.postMessage({ kind: "stop" });
    this.#node?.disconnect();
    this.#close();
    this.#tell();
  }

  /** @param {(report: Report) => void} watcher @returns {() => void} ends it */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** @param {Run} run @param {number} track */
  #follow(run, track) {
    let sent = 0;
    const send = () => {
      for (; sent < run.pieces.length; sent++) {
        const samples = toFloats(run.pieces[sent] ?? new Int16Array());
        this.#node?.port.postMessage({ kind: "push", track, samples }, [samples.buffer]);
      }
      if (run.isOver) this.#node?.port.postMessage({ kind: "complete", track });
    };
    send();
    this.#unwatch.push(run.watch((change) => (change === "speech" || change === "end") && send()));
  }

  /** @param {Report} report */
  #take(report) {
    if (this.#isStopped) return;
    const underran = report.underruns > this.report.underruns;
    this.report = report;
    this.#reportedMs = performance.now();
    for (const [track, run] of this.runs.entries()) {
      if (report.position) run.mark("heard");
      if (run.isOver && report.state !== "playing" && run.slack.at(-1)?.buffered === 0) continue;
      run.slack.push({ at: run.now, buffered: (report.buffered[track] ?? 0) / RATE_HZ });
      if (underran) run.underruns.push(run.now);
    }
    if (report.state === "ended") {
      for (const run of this.runs) run.mark("played");
      this.#node?.disconnect();
      this.#close();
    }
    this.#tell();
  }

  #close() {
    for (const end of this.#unwatch) end();
    this.#unwatch = [];
  }

  #tell() {
    for (const tell of this.#watchers) tell(this.report);
  }
}
