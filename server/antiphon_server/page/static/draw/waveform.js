// @ts-check
/** The waveform of a run above its spectrogram, with the place that is being heard. */

import { BANDS, Columns } from "./columns.js";
import { Painter } from "./painter.js";

/** @typedef {import("../run.js").Run} Run */

const SHORTEST = 200; // columns: two seconds fill the width

export class Waveform {
  /** @type {Columns | null} */ #columns = null;
  /** @type {() => number} */ #heardS = () => 0;
  /** @type {() => boolean} */ #isPlaying = () => false;
  #picture = document.createElement("canvas");
  #pictured = 0;
  #pictureColour = "";
  #painter;

  /** @param {HTMLCanvasElement} canvas @param {boolean} [showsSpectrum] */
  constructor(canvas, showsSpectrum = true) {
    this.#painter = new Painter(canvas, (sheet) => this.#draw(sheet));
    this.spectrumShare = showsSpectrum ? 0.55 : 0;
  }

  /** @param {Run | null} run @param {() => number} heardS @param {() => boolean} isPlaying */
  show(run, heardS = () => 0, isPlaying = () => false) {
    if (this.#columns?.run !== run) {
      this.#columns = run ? new Columns(run) : null;
      this.#pictured = 0;
      this.#picture.width = SHORTEST;
      this.#picture.height = BANDS;
    }
    this.#heardS = heardS;
    this.#isPlaying = isPlaying;
    this.#painter.invalidate();
  }

  refresh() {
    this.#painter.invalidate();
  }

  /** @param {import("./painter.js").Sheet} sheet @returns {boolean} */
  #draw({ pen, width, height, colours }) {
    const columns = this.#columns;
    const waveHeight = height * (1 - this.spectrumShare);
    pen.fillStyle = colours.faint;
    pen.fillRect(0, waveHeight / 2, width, 1);
    if (!columns) return false;
    const hasMore = columns.advance();
    const total = Math.max(SHORTEST, columns.count);
    const heard = Math.min((this.#heardS() * 100 * width) / total, width);
    this.#drawWave(pen, columns, width, waveHeight, total, heard, colours);
    if (this.spectrumShare) {
      this.#paintColumns(columns, colours.accent);
      const shown = Math.min(columns.count, this.#picture.width);
      pen.imageSmoothingEnabled = true;
      if (shown) {
        const to = (shown * width) / total;
        pen.drawImage(this.#picture, 0, 0, shown, BANDS, 0, waveHeight + 6, to, height - waveHeight - 6);
      }
    }
    if (heard > 0 && heard < width) {
      pen.fillStyle = colours.ink;
      pen.fillRect(Math.round(heard), 0, 1, height);
    }
    return hasMore || this.#isPlaying();
  }

  /**
   * @param {CanvasRenderingContext2D} pen @param {Columns} columns @param {number} width @param {number} height
   * @param {number} total @param {number} heard @param {import("./palette.js").Palette} colours
   */
  #drawWave(pen, columns, width, height, total, heard, colours) {
    const middle = height / 2;
    const scale = middle / 20_000;
    const pixels = Math.min(width, Math.ceil((columns.count * width) / total));
    for (const [from, to, colour] of /** @type {const} */ ([
      [0, heard, colours.accent],
      [heard, pixels, colours.muted],
    ])) {
      pen.fillStyle = colour;
      pen.beginPath();
      for (let x = Math.floor(from); x < to; x += 2) {
        const column = Math.floor((x * total) / width);
        const until = Math.max(column + 1, Math.floor(((x + 2) * total) / width));
        let low = 0;
        let high = 0;
        for (let at = column; at < until && at < columns.count; at++) {
          low = Math.min(low, columns.lows[at] ?? 0);
          high = Math.max(high, columns.highs[at] ?? 0);
        }
        const top = middle - Math.min(high * scale, middle);
        pen.rect(x, top, 1.2, Math.max(1, middle + Math.min(-low * scale, middle) - top));
      }
      pen.fill();
    }
  }

  /** Adds what is new to the picture of the spectrum. @param {Columns} columns @param {string} colour */
  #paintColumns(columns, colour) {
    if (this.#picture.width < columns.count) {
      this.#picture.width = 2 * columns.count;
      this.#pictured = 0;
    }
    if (colour !== this.#pictureColour) this.#pictured = 0;
    this.#pictureColour = colour;
    const count = Math.min(columns.count - this.#pictured, 256);
    const pen = this.#picture.getContext("2d");
    if (count <= 0 || !pen) return;
    const [red, green, blue] = (colour.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    const image = pen.createImageData(count, BANDS);
    for (let column = 0; column < count; column++) {
      for (let band = 0; band < BANDS; band++) {
        const at = 4 * ((BANDS - 1 - band) * count + column);
        image.data[at] = red ?? 0;
        image.data[at + 1] = green ?? 0;
        image.data[at + 2] = blue ?? 0;
        image.data[at + 3] = columns.bands[(this.#pictured + column) * BANDS + band] ?? 0;
      }
    }
    pen.putImageData(image, this.#pictured, 0);
    this.#pictured += count;
  }
}
