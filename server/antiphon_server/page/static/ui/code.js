// @ts-check
/** The selected request as code to copy, and the files that it sends. */

import { bench, callOf, curl, javascript, python } from "../codegen.js";
import { announce, byId, el, fill } from "../dom.js";
import { address, key } from "../net/server.js";

/** @typedef {import("../run.js").Run} Run */

const LANGUAGES = { curl, python, javascript, bench };

export class CodePanel {
  #language = byId("code-language", HTMLSelectElement);
  #text = byId("code-text", HTMLElement);
  /** @type {Run | null} */ #run = null;

  /** @param {import("../conversation.js").Conversation} conversation */
  constructor(conversation) {
    conversation.store.subscribe(({ selected }) => {
      if (selected === this.#run) return;
      this.#run = selected;
      this.#refresh();
    });
    this.#language.addEventListener("change", () => this.#refresh());
    byId("code-copy", HTMLButtonElement).addEventListener("click", () => this.#copy());
  }

  #refresh() {
    const run = this.#run;
    const canBeCode = run !== null && run.kind !== "realtime";
    byId("code-empty", HTMLElement).hidden = canBeCode;
    byId("code-shown", HTMLElement).hidden = !canBeCode;
    if (!canBeCode) return;
    const { call, files } = callOf(run.request, run.kind, address(""), key.needed);
    const write = LANGUAGES[/** @type {keyof typeof LANGUAGES} */ (this.#language.value)];
    this.#text.textContent = write(call, files);
    const links = files.map((file) => el("li", {}, el("a", { href: file.url, download: file.name, text: file.name })));
    byId("code-files", HTMLElement).hidden = !files.length;
    fill(byId("code-file-list", HTMLElement), ...links);
  }

  async #copy() {
    const text = this.#text.textContent ?? "";
    const button = byId("code-copy", HTMLButtonElement);
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      getSelection()?.selectAllChildren(this.#text);
      button.textContent = "Press Ctrl C";
    }
    setTimeout(() => (button.textContent = "Copy"), 1_500);
  }
}
