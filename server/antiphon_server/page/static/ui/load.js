// @ts-check
/** The server's load, asked for every two seconds while it is in view. */

import { byId, duration, el, fill } from "../dom.js";
import { readLoad } from "../net/metrics.js";

const EVERY_MS = 2_000;

export class LoadPanel {
  #element = byId("load", HTMLElement);
  #timer = 0;

  /** @param {boolean} isInView */
  show(isInView) {
    clearTimeout(this.#timer);
    if (isInView) this.#ask();
  }

  async #ask() {
    if (!document.hidden) {
      const load = await readLoad().catch(() => null);
      if (load) fill(this.#element, ...rows(load));
    }
    this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
  }
}

/** @param {import("../net/metrics.js").Load} load */
function rows(load) {
  return [
    share("Streams", load.streams, "Speech that is played while it is made"),
    share("Thinker cache", load.thinkerCache, "KV blocks that are reserved"),
    share("Talker cache", load.talkerCache, "KV blocks that are reserved"),
    figure("Queue", String(load.queue), "Requests that wait"),
    figure("Running", String(load.running), "Requests in the engines"),
    figure("Talker step", duration(load.frameS * 1e3), "A step makes 80 ms of speech for each stream"),
    figure("Realtime", String(load.realtime), "Open realtime connections"),
    figure("Restarts", String(load.restarts), "Of the engines, since the server started"),
  ];
}

/** @param {string} name @param {import("../net/metrics.js").Share} share @param {string} title */
function share(name, { used, total }, title) {
  const meter = el("meter", { min: 0, max: Math.max(total, 1), value: used, "aria-label": name });
  return el("div", { title }, el("dt", { text: name }), el("dd", {}, meter, `${used} of ${total.toLocaleString("en")}`));
}

/** @param {string} name @param {string} value @param {string} title */
function figure(name, value, title) {
  return el("div", { title }, el("dt", { text: name }), el("dd", { text: value }));
}
