// @ts-check
/** The sound of a run in columns of 10 ms: its peaks and its spectrum, worked out a few columns a frame. */

import { RATE_HZ } from "../run.js";
import { SIZE, spectrum } from "./fft.js";

/** @typedef {import("../run.js").Run} Run */

export const HOP = RATE_HZ / 100;
export const BANDS = 64; // up to 6 kHz
const BINS_A_BAND = SIZE / 4 / BANDS;
const COLUMNS_A_STEP = 24;
const FLOOR_DB = -35;
const CEILING_DB = 25;

export class Columns {
  count = 0;
  lows = new Int16Array(1_024);
  highs = new Int16Array(1_024);
  /** 0 to 255, `BANDS` a column. */ bands = new Uint8Array(1_024 * BANDS);
  #pieces = 0;
  #samples = new Int16Array(RATE_HZ * 4);
  #length = 0;
  #decibels = new Float32Array(SIZE / 2);

  /** @param {Run} run */
  constructor(run) {
    this.run = run;
  }

  /** Works out some more. @returns {boolean} whether there are still more */
  advance() {
    this.#take();
    const whole = Math.floor(this.#length / HOP);
    const until = Math.min(whole, this.count + COLUMNS_A_STEP);
    for (; this.count < until; this.count++) this.#add(this.count);
    return this.count < whole;
  }

  #take() {
    const { pieces } = this.run;
    for (; this.#pieces < pieces.length; this.#pieces++) {
      const piece = pieces[this.#pieces] ?? new Int16Array();
      if (this.#length + piece.length > this.#samples.length) {
        const grown = new Int16Array(2 * (this.#length + piece.length));
        grown.set(this.#samples);
        this.#samples = grown;
      }
      this.#samples.set(piece, this.#length);
      this.#length += piece.length;
    }
  }

  /** @param {number} column */
  #add(column) {
    if (column >= this.lows.length) this.#grow();
    const at = column * HOP;
    let low = 0;
    let high = 0;
    for (let index = at; index < at + HOP; index++) {
      const sample = this.#samples[index] ?? 0;
      if (sample < low) low = sample;
      if (sample > high) high = sample;
    }
    this.lows[column] = low;
    this.highs[column] = high;
    spectrum(this.#samples, Math.max(at - (SIZE - HOP) / 2, 0), this.#decibels);
    for (let band = 0; band < BANDS; band++) {
      let loudest = -Infinity;
      for (let bin = 0; bin < BINS_A_BAND; bin++) {
        loudest = Math.max(loudest, this.#decibels[band * BINS_A_BAND + bin] ?? -Infinity);
      }
      const share = (loudest - FLOOR_DB) / (CEILING_DB - FLOOR_DB);
      this.bands[column * BANDS + band] = 255 * Math.max(0, Math.min(1, share));
    }
  }

  #grow() {
    const size = 2 * this.lows.length;
    const [lows, highs, bands] = [new Int16Array(size), new Int16Array(size), new Uint8Array(size * BANDS)];
    lows.set(this.lows);
    highs.set(this.highs);
    bands.set(this.bands);
    Object.assign(this, { lows, highs, bands });
  }
}
