// @ts-check
/** Drawings on canvases, all in one animation loop that stops when none of them changes. */

import { palette } from "./palette.js";

/** @typedef {{ pen: CanvasRenderingContext2D, width: number, height: number, colours: import("./palette.js").Palette }} Sheet */

/** Milliseconds of script that one frame may take; what does not fit is drawn in the next. */
const BUDGET_MS = 3;

/** What the loop has cost: for the log, and for the tests. */
export const cost = { frames: 0, worstMs: 0, totalMs: 0 };

/** @type {Set<Painter>} */ const waiting = new Set();
let isScheduled = false;

export class Painter {
  #pen;
  #draw;
  #width = 0;
  #height = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {(sheet: Sheet) => boolean} draw returns whether it wants the next frame too
   */
  constructor(canvas, draw) {
    this.canvas = canvas;
    this.#draw = draw;
    this.#pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    new ResizeObserver(([entry]) => {
      if (!entry || !entry.contentRect.width) return;
      this.#width = entry.contentRect.width;
      this.#height = entry.contentRect.height;
      const scale = Math.min(devicePixelRatio, 2);
      canvas.width = Math.round(this.#width * scale);
      canvas.height = Math.round(this.#height * scale);
      this.#pen.setTransform(scale, 0, 0, scale, 0, 0);
      this.invalidate();
    }).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.invalidate());
    document.addEventListener("themechange", () => this.invalidate());
  }

  /** It is drawn in the next frame. */
  invalidate() {
    waiting.add(this);
    schedule();
  }

  /** @returns {boolean} whether it wants the next frame too */
  paint() {
    if (!this.#width || !this.canvas.isConnected) return false;
    const sheet = { pen: this.#pen, width: this.#width, height: this.#height, colours: palette() };
    this.#pen.clearRect(0, 0, this.#width, this.#height);
    return this.#draw(sheet);
  }
}

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(frame);
}

function frame() {
  isScheduled = false;
  const began = performance.now();
  for (const painter of [...waiting]) {
    waiting.delete(painter);
    if (painter.paint()) waiting.add(painter);
    if (performance.now() - began > BUDGET_MS) break;
  }
  const took = performance.now() - began;
  cost.frames += 1;
  cost.totalMs += took;
  cost.worstMs = Math.max(cost.worstMs, took);
  if (waiting.size) schedule();
}
