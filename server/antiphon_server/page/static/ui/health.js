// @ts-check
/** Whether the server accepts work, in the bar: asked every few seconds, and at once after a failure. */

import { byId } from "../dom.js";
import { address } from "../net/server.js";

const EVERY_MS = 5_000;
const TROUBLED_EVERY_MS = 1_000;

export class Health {
  #element = byId("health", HTMLElement);
  #timer = 0;

  start() {
    this.ask();
    document.addEventListener("visibilitychange", () => document.hidden || this.ask());
  }

  async ask() {
    clearTimeout(this.#timer);
    const [state, sentence] = await read();
    if (this.#element.textContent !== sentence) this.#element.textContent = sentence;
    this.#element.dataset.state = state;
    if (document.hidden) return;
    this.#timer = setTimeout(() => this.ask(), state === "ready" ? EVERY_MS : TROUBLED_EVERY_MS);
  }
}

/** @returns {Promise<["ready" | "part" | "down", string]>} */
async function read() {
  try {
    const response = await fetch(address("readyz"));
    const { ready, reasons } = await response.json();
    const reason = reasons.length ? `${reasons[0][0].toUpperCase()}${reasons[0].slice(1)}` : "";
    if (!ready) return ["down", reason || "Not ready"];
    return reason ? ["part", reason] : ["ready", "Ready"];
  } catch {
    return ["down", "The server cannot be reached"];
  }
}
