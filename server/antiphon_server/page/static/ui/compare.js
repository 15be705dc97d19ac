// @ts-check
/** Two answers to one text, side by side: other voices, seeds or temperatures. Both play in step. */

import { Player } from "../audio/player.js";
import { byId, duration, el, fill } from "../dom.js";
import { Waveform } from "../draw/waveform.js";
import { answer } from "../net/answer.js";
import { chatBody, speechBody } from "../request.js";
import { figures, Run } from "../run.js";

/** @typedef {import("../types").Settings} Settings */
/** @typedef {{ voice: HTMLSelectElement, seed: HTMLInputElement, temperature: HTMLInputElement, wave: Waveform, facts: HTMLElement, run: Run | null }} Side */

const NAMES = /** @type {const} */ (["A", "B"]);

export class ComparePanel {
  /** @type {Side[]} */ #sides = [];
  /** @type {Player | null} */ player = null;
  #abort = new AbortController();
  #text = byId("compare-text", HTMLTextAreaElement);
  #task = byId("compare-task", HTMLSelectElement);

  /** @param {import("../store.js").Store<Settings>} settings @param {import("../types").Model} model */
  constructor(settings, model) {
    this.settings = settings;
    this.model = model;
    this.#sides = NAMES.map((name, index) => this.#side(name, index));
    byId("compare-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#run();
    });
    byId("compare-play", HTMLButtonElement).addEventListener("click", () => this.#play());
    for (const radio of this.#listening()) radio.addEventListener("change", () => this.#mix());
  }

  get runs() {
    return this.#sides.map((side) => side.run).filter((run) => run !== null);
  }

  /** @param {string} name @param {number} index @returns {Side} */
  #side(name, index) {
    const { voices } = this.model;
    const voice = el("select", { "aria-label": `Voice of ${name}` }, ...voices.map((one) => el("option", { value: one, text: one })));
    voice.value = voices[Math.min(index, voices.length - 1)] ?? "";
    const seed = el("input", { type: "number", step: 1, placeholder: "Seed", "aria-label": `Seed of ${name}` });
    const temperature = el("input", { type: "number", step: "any", min: 0, max: 2, placeholder: "Temperature", "aria-label": `Speech temperature of ${name}` });
    const canvas = el("canvas", { class: "plot", "aria-hidden": "true" });
    const facts = el("p", { class: "hint", text: "Not run yet" });
    const head = el("h2", { text: name });
    byId("compare-sides", HTMLElement).append(el("section", { "aria-label": `Answer ${name}` }, head, el("div", { class: "controls" }, voice, seed, temperature), canvas, facts));
    return { voice, seed, temperature, wave: new Waveform(canvas), facts, run: null };
  }

  #run() {
    const text = this.#text.value.trim();
    if (!text) return;
    this.#abort.abort();
    this.#abort = new AbortController();
    this.player?.stop();
    for (const side of this.#sides) {
      const run = this.#runOf(side, text);
      side.run = run;
      run.watch((change) => {
        if (change === "speech" || change === "end") side.wave.refresh();
        if (change !== "words") fill(side.facts, factsOf(run));
      });
      answer(run, this.#abort.signal);
    }
    this.#play();
  }

  /** @param {Side} side @param {string} text */
  #runOf(side, text) {
    const number = (/** @type {HTMLInputElement} */ input) => (input.value === "" ? null : Number(input.value));
    const changes = { voice: side.voice.value, talker_seed: number(side.seed), talker_temperature: number(side.temperature) };
    if (this.#task.value === "read") return new Run("speech", speechBody(changes, this.model.id, text));
    const settings = { ...this.settings.value, ...changes, speaks: true, seed: changes.talker_seed ?? this.settings.value.seed };
    return new Run("chat", chatBody(settings, this.model.id, [{ role: "user", text, attachments: [] }]));
  }

  async #play() {
    const { runs } = this;
    if (!runs.length) return;
    this.player?.stop();
    const player = new Player(runs);
    this.player = player;
    for (const side of this.#sides) side.wave.show(side.run, () => player.heardS, () => player.isPlaying);
    await player.start().catch(() => player.stop());
    this.#mix();
  }

  /** Which of them is heard. They play in step all the while. */
  #mix() {
    const heard = this.#listening().find((radio) => radio.checked)?.value ?? "A";
    this.player?.gains.forEach((gain, index) => {
      const share = heard === "both" ? 0.6 : heard === NAMES[index] ? 1 : 0;
      gain.gain.setTargetAtTime(share, gain.context.currentTime, 0.015);
    });
  }

  #listening() {
    return /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("input[name=compare-heard]")]);
  }
}

/** @param {Run} run */
function factsOf(run) {
  if (run.error) return run.error.message;
  const { firstSound, seconds, factor } = figures(run);
  const parts = [`first sound ${duration(firstSound)}`, `${seconds.toFixed(2)} s`];
  if (run.isOver && factor !== null) parts.push(`${factor.toFixed(2)} × real time`);
  return run.kind === "chat" && run.text ? `“${run.text.trim()}” ${parts.join(" · ")}` : parts.join(" · ");
}
