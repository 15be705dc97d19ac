// @ts-check
/** The dialog of kept conversations: open, export, import, remove. And the repetition of the selected answer. */

import { byId, download, el, fill } from "../dom.js";
import { forget, keep, list, stored, turnsOf } from "../history.js";
import { parse, repeat, sentence, write } from "../trace.js";

/** @typedef {import("../conversation.js").Conversation} Conversation */

export class HistoryDialog {
  #dialog = byId("history-dialog", HTMLDialogElement);
  #list = byId("history-list", HTMLElement);
  #verdict = byId("replay-verdict", HTMLElement);
  #kept = "";

  /** @param {Conversation} conversation */
  constructor(conversation) {
    this.conversation = conversation;
    byId("history-button", HTMLButtonElement).addEventListener("click", () => this.#open());
    byId("history-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    byId("trace-save", HTMLButtonElement).addEventListener("click", () => this.#save());
    const input = byId("trace-input", HTMLInputElement);
    byId("trace-open", HTMLButtonElement).addEventListener("click", () => input.click());
    input.addEventListener("change", async () => {
      const [file] = input.files ?? [];
      input.value = "";
      if (file) this.#restore(await file.text());
    });
    byId("trace-repeat", HTMLButtonElement).addEventListener("click", () => this.#repeat());
    conversation.store.subscribe((state) => {
      const mark = `${state.id} ${state.turns.length} ${state.isBusy}`;
      if (state.isBusy || !state.turns.length || mark === this.#kept) return;
      this.#kept = mark;
      keep(stored(state.id, state.turns)).catch(() => {});
    });
  }

  async #open() {
    this.#dialog.showModal();
    await this.#refresh();
  }

  async #refresh() {
    const found = await list().catch(() => []);
    byId("history-empty", HTMLElement).hidden = found.length > 0;
    fill(this.#list, ...found.map((one) => this.#row(one)));
  }

  /** @param {import("../types").Conversation} conversation */
  #row(conversation) {
    const when = new Date(conversation.changedAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const open = el("button", { type: "button", class: "history-open" }, el("span", { text: conversation.title }), el("span", { class: "hint", text: when }));
    open.addEventListener("click", () => {
      this.conversation.restore(conversation.id, turnsOf(conversation));
      this.#dialog.close();
    });
    const remove = el("button", { type: "button", class: "quiet", text: "Remove", "aria-label": `Remove ${conversation.title}` });
    remove.addEventListener("click", async () => {
      await forget(conversation.id);
      await this.#refresh();
    });
    return el("li", {}, open, remove);
  }

  #save() {
    const { id, turns } = this.conversation.store.value;
    if (!turns.length) return this.#say("There is nothing to save yet.");
    const kept = stored(id, turns);
    download(write(kept), `antiphon-${new Date().toISOString().slice(0, 19).replace(/:/g, "-")}.json`, "application/json");
  }

  /** @param {string} text */
  #restore(text) {
    try {
      const conversation = parse(text);
      this.conversation.restore(conversation.id, turnsOf(conversation));
      this.#say(`Opened: ${conversation.turns.length} turns. They play as they were recorded.`);
    } catch (error) {
      this.#say(error instanceof Error ? error.message : String(error));
    }
  }

  async #repeat() {
    const run = this.conversation.store.value.selected;
    if (!run || run.kind === "realtime") return this.#say("Select an answer to a typed or recorded message first.");
    this.#say("Asking again.");
    const { verdict } = await repeat(run);
    this.#say(sentence(verdict));
  }

  /** @param {string} text */
  #say(text) {
    this.#verdict.textContent = text;
  }
}
