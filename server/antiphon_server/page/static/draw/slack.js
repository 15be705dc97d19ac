// @ts-check
/** The playing buffer over time: seconds of speech that are held and not played, and where it ran empty. */

import { Painter } from "./painter.js";

/** @typedef {import("../run.js").Run} Run */

const SPAN_MS = 8_000;

export class SlackPlot {
  /** @type {Run | null} */ #run = null;
  #painter;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#painter = new Painter(canvas, (sheet) => this.#draw(sheet));
  }

  /** @param {Run | null} run */
  show(run) {
    this.#run = run;
    this.#painter.invalidate();
  }

  refresh() {
    this.#painter.invalidate();
  }

  /** @param {import("./painter.js").Sheet} sheet @returns {boolean} */
  #draw({ pen, width, height, colours }) {
    const points = this.#run?.slack ?? [];
    const last = points.at(-1)?.at ?? 0;
    const span = Math.max(SPAN_MS, last);
    const top = Math.max(1, ...points.map((point) => point.buffered)) * 1.15;
    const x = (/** @type {number} */ at) => (at / span) * width;
    const y = (/** @type {number} */ seconds) => height - 1 - (seconds / top) * (height - 14);
    pen.strokeStyle = colours.faint;
    pen.lineWidth = 1;
    pen.fillStyle = colours.muted;
    pen.font = "11px system-ui, sans-serif";
    const step = top > 4 ? 2 : top > 2 ? 1 : 0.5;
    for (let second = step; second < top; second += step) {
      pen.beginPath();
      pen.moveTo(0, Math.round(y(second)) + 0.5);
      pen.lineTo(width, Math.round(y(second)) + 0.5);
      pen.stroke();
      pen.fillText(`${second} s`, 4, y(second) - 3);
    }
    if (!points.length) return false;
    const every = Math.max(1, Math.floor(points.length / width));
    pen.beginPath();
    pen.moveTo(x(points[0]?.at ?? 0), height);
    for (let index = 0; index < points.length; index += every) {
      const point = points[index];
      if (point) pen.lineTo(x(point.at), y(point.buffered));
    }
    pen.lineTo(x(last), y(points.at(-1)?.buffered ?? 0));
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineTo(x(last), height);
    pen.fillStyle = colours.wash;
    pen.fill();
    pen.fillStyle = colours.bad;
    for (const at of this.#run?.underruns ?? []) pen.fillRect(x(at) - 1, 0, 2, height);
    return false;
  }
}
