// @ts-check
/** The event log as a list, with filters. It is filled only while it is in view. */

import { byId, el, fill, size } from "../dom.js";

/** @typedef {import("../types").LogEntry} LogEntry */

const SHOWN = 300;
const ARROWS = { sent: "→", received: "←", page: "·" };

export class LogPanel {
  #filter = byId("log-filter", HTMLInputElement);
  #direction = byId("log-direction", HTMLSelectElement);
  #list = byId("log-list", HTMLElement);
  #isInView = false;
  #isDue = false;

  /** @param {import("../log.js").Log} log */
  constructor(log) {
    this.log = log;
    log.onChange = () => this.#schedule();
    this.#filter.addEventListener("input", () => this.#refresh());
    this.#direction.addEventListener("change", () => this.#refresh());
    byId("log-clear", HTMLButtonElement).addEventListener("click", () => {
      log.entries = [];
      this.#refresh();
    });
  }

  /** @param {boolean} isInView */
  show(isInView) {
    this.#isInView = isInView;
    this.#schedule();
  }

  #schedule() {
    if (!this.#isInView || this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      this.#isDue = false;
      this.#refresh();
    }, 250);
  }

  #refresh() {
    const wanted = this.#filter.value.toLowerCase();
    const direction = this.#direction.value;
    const found = this.log.entries.filter(
      (entry) =>
        (!direction || entry.direction === direction) &&
        (!wanted || entry.kind.toLowerCase().includes(wanted) || JSON.stringify(entry.detail).toLowerCase().includes(wanted)),
    );
    byId("log-count", HTMLElement).textContent = `${found.length} of ${this.log.entries.length} events`;
    fill(this.#list, ...found.slice(-SHOWN).reverse().map(rowOf));
  }
}

/** @param {LogEntry} entry */
function rowOf(entry) {
  const head = el(
    "summary",
    {},
    el("span", { class: "log-time", text: (entry.at / 1e3).toFixed(3) }),
    el("span", { class: `log-direction is-${entry.direction}`, text: ARROWS[entry.direction], title: entry.direction }),
    el("span", { class: "log-kind", text: entry.kind }),
    el("span", { class: "log-size", text: entry.bytes ? size(entry.bytes) : "" }),
  );
  const row = el("details", {}, head);
  row.addEventListener("toggle", () => {
    if (row.open && row.childElementCount === 1) {
      row.append(el("pre", { tabindex: 0, text: JSON.stringify(entry.detail, null, 2) }));
    }
  });
  return el("li", {}, row);
}
