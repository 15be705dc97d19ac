// @ts-check
/** The text of an answer, which lights up word by word as it is heard. */

import { announce, el } from "../dom.js";

/** @typedef {import("../run.js").Run} Run */

export class Captions {
  element = el("p", { class: "captions" });
  #rest = document.createTextNode("");
  /** @type {HTMLSpanElement[]} */ #spans = [];
  #lit = 0;
  #shown = 0; // characters of the text that are in spans
  #announced = 0;

  /** @param {Run} run */
  constructor(run) {
    this.run = run;
    this.element.append(this.#rest);
    this.refresh();
  }

  /** Takes over new text and new words. */
  refresh() {
    const { run } = this;
    for (let index = this.#spans.length; index < run.words.length; index++) {
      const word = run.words[index]?.word ?? "";
      const span = el("span", { class: "word", text: word });
      this.#rest.before(span);
      this.#spans.push(span);
      this.#shown += word.length;
    }
    const rest = run.text.slice(this.#shown);
    if (rest !== this.#rest.data) this.#rest.data = rest;
    this.element.classList.toggle("is-spoken", run.samples > 0);
  }

  /** @param {number} seconds that were heard; Infinity: all */
  light(seconds) {
    const { words } = this.run;
    let lit = this.#lit;
    if (lit > 0 && (words[lit - 1]?.start ?? 0) > seconds) lit = 0;
    while (lit < this.#spans.length && (words[lit]?.start ?? Infinity) <= seconds) lit++;
    if (seconds === Infinity) this.element.querySelector(".is-now")?.classList.remove("is-now");
    if (lit === this.#lit) return;
    this.#spans.forEach((span, index) => {
      span.classList.toggle("is-heard", index < lit);
      span.classList.toggle("is-now", index === lit - 1 && seconds < (words[index]?.end ?? 0) + 0.15);
    });
    this.#lit = lit;
    this.#announce(lit);
  }

  /** The text behind `heard` was not heard. @param {string} heard */
  strike(heard) {
    if (this.element.classList.contains("is-cut")) return;
    let chars = 0;
    for (const [index, span] of this.#spans.entries()) {
      span.classList.toggle("is-heard", chars < heard.length);
      span.classList.remove("is-now");
      chars += this.run.words[index]?.word.length ?? 0;
    }
    this.element.classList.add("is-cut");
  }

  /** Screen readers get whole sentences: single words would interrupt each other. @param {number} lit */
  #announce(lit) {
    const heard = this.run.words.slice(this.#announced, lit).map((one) => one.word).join("");
    const end = Math.max(heard.lastIndexOf("."), heard.lastIndexOf("?"), heard.lastIndexOf("!"));
    if (end < 0) return;
    announce(heard.slice(0, end + 1));
    this.#announced = lit;
  }
}
