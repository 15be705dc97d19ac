// @ts-check
/** A run: one request and all that is known of its answer. The panels show runs; traces are runs. */

/** @typedef {import("./types").Word} Word */
/** @typedef {import("./types").StoredRun} StoredRun */
/** @typedef {"text" | "speech" | "words" | "progress" | "mark" | "end"} Change */

export const RATE_HZ = 24_000;

/** An id that no other run, turn or conversation has. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Run {
  id = newId();
  model = "";
  dialect = "";
  sentAt = "";
  text = "";
  reasoning = "";
  /** @type {string | null} What of the text was heard, if the answer was cut. */ heard = null;
  /** @type {Word[]} */ words = [];
  /** @type {Int16Array[]} */ pieces = [];
  samples = 0;
  /** @type {{ at: number, data: string }[]} */ events = [];
  /** @type {Record<string, number>} Milliseconds since the request was sent. */ marks = {};
  /** @type {Record<string, number> | null} */ timing = null;
  /** @type {any} */ usage = null;
  /** @type {any} */ read = null;
  finish = "";
  /** @type {Error | null} */ error = null;
  isOver = false;
  /** @type {{ at: number, buffered: number }[]} Seconds of buffered audio, by milliseconds. */ slack = [];
  /** @type {number[]} Milliseconds of underruns. */ underruns = [];
  #sentMs = 0;
  /** @type {Set<(change: Change) => void>} */ #watchers = new Set();

  /** @param {"chat" | "speech" | "realtime"} kind @param {any} request */
  constructor(kind, request) {
    this.kind = kind;
    this.request = request;
  }

  /** Milliseconds since the request was sent. */
  get now() {
    return performance.now() - this.#sentMs;
  }

  get seconds() {
    return this.samples / RATE_HZ;
  }

  /** @param {number} bytes of the request @param {number} at what its times count from */
  start(bytes = 0, at = performance.now()) {
    this.#sentMs = at;
    this.sentAt = new Date().toISOString();
    this.bytes = bytes;
    this.mark("sent", 0);
  }

  /** Only the first of each name counts. @param {string} name @param {number} [at] */
  mark(name, at = this.now) {
    if (name in this.marks) return;
    this.marks[name] = at;
    this.#tell("mark");
  }

  /** @param {string} data */
  record(data) {
    this.events.push({ at: this.now, data });
  }

  /** @param {string} text */
  addText(text) {
    this.mark("firstText");
    this.text += text;
    this.#tell("text");
  }

  /** @param {string} text */
  addReasoning(text) {
    this.reasoning += text;
    this.#tell("text");
  }

  /** @param {Int16Array} pcm */
  addSpeech(pcm) {
    this.mark("firstSound");
    this.pieces.push(pcm);
    this.samples += pcm.length;
    this.marks.lastSound = this.now;
    this.#tell("speech");
  }

  /** @param {Word[]} words */
  addWords(words) {
    this.words.push(...words);
    this.#tell("words");
  }

  /** @param {any} progress of a long prompt */
  progress(progress) {
    this.read = progress;
    this.#tell("progress");
  }

  end() {
    if (this.isOver) return;
    this.mark("end");
    this.isOver = true;
    this.#tell("end");
  }

  /** The user stopped it. */
  cut() {
    this.finish = "cut";
    this.end();
  }

  /** @param {Error} error */
  fail(error) {
    this.error = error;
    this.end();
  }

  /** @param {(change: Change) => void} watcher @returns {() => void} ends it */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** All its sound. */
  get pcm() {
    const whole = new Int16Array(this.samples);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  /** @returns {StoredRun} */
  store() {
    const { id, kind, request, dialect, model, sentAt, events, marks, timing, usage, text, heard, words } = this;
    const pcm = /** @type {ArrayBuffer} */ (this.pcm.buffer);
    const error = this.error?.message ?? null;
    const underruns = this.underruns.length;
    return { id, kind, request, dialect, model, sentAt, events, marks, timing, usage, text, heard, words, pcm, underruns, error };
  }

  /** @param {StoredRun} stored */
  static of(stored) {
    const run = new Run(stored.kind, stored.request);
    const { id, dialect, model, sentAt, events, marks, timing, usage, text, heard, words } = stored;
    Object.assign(run, { id, dialect, model, sentAt, events, marks, timing, usage, text, heard, words });
    run.pieces = stored.pcm.byteLength ? [new Int16Array(stored.pcm)] : [];
    run.samples = stored.pcm.byteLength / 2;
    run.error = stored.error ? new Error(stored.error) : null;
    run.isOver = true;
    return run;
  }

  /** @param {Change} change */
  #tell(change) {
    for (const watcher of this.#watchers) watcher(change);
  }
}

/** The figures of a run. RTF: from the request to the last sound, for each second of speech. @param {Run} run */
export function figures(run) {
  const { firstText, firstSound, heard, lastSound, end } = run.marks;
  const factor = run.samples && lastSound !== undefined ? lastSound / 1e3 / run.seconds : null;
  return { firstText, firstSound, heard, end, seconds: run.seconds, factor, underruns: run.underruns.length };
}
