// @ts-check
/** The turns of the conversation on the page: what was said and shown, and each answer with its captions. */

import { duration, el, fill, icon, size } from "../dom.js";
import { Waveform } from "../draw/waveform.js";
import { figures } from "../run.js";
import { Captions } from "./captions.js";

/** @typedef {import("../conversation.js").Conversation} Conversation */
/** @typedef {import("../conversation.js").Turn} Turn */
/** @typedef {import("../run.js").Run} Run */

export class TurnList {
  /** @type {Map<string, { turn: Turn, element: HTMLElement, refresh: () => void }>} */ #shown = new Map();
  #ticks = false;

  /** @param {HTMLElement} scroll @param {HTMLElement} element @param {HTMLElement} welcome @param {Conversation} conversation @param {(run: Run) => void} inspect */
  constructor(scroll, element, welcome, conversation, inspect) {
    this.scroll = scroll;
    this.element = element;
    this.welcome = welcome;
    this.conversation = conversation;
    this.inspect = inspect;
    conversation.store.subscribe(() => this.#refresh());
  }

  #refresh() {
    const { turns } = this.conversation;
    this.welcome.hidden = turns.length > 0;
    const isAtEnd = this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 120;
    for (const [id, { turn, element }] of this.#shown) {
      if (turns.includes(turn)) continue;
      element.remove();
      this.#shown.delete(id);
    }
    let isLonger = false;
    for (const [index, turn] of turns.entries()) {
      const known = this.#shown.get(turn.id);
      if (known) known.refresh();
      else this.#add(turn, index);
      isLonger ||= !known;
    }
    if (isAtEnd || isLonger) this.scroll.scrollTop = this.scroll.scrollHeight;
    if (!this.#ticks) this.#tick();
  }

  /** Light follows the sound while it plays. */
  #tick() {
    const player = this.conversation.store.value.player;
    this.#ticks = Boolean(player?.isPlaying);
    if (!this.#ticks) return;
    const run = player?.runs[0];
    if (run) this.#shown.get(run.id)?.refresh();
    setTimeout(() => this.#tick(), 60);
  }

  /** @param {Turn} turn @param {number} index */
  #add(turn, index) {
    const shown = turn.run ? this.#answer(turn.run) : this.#question(turn);
    this.#shown.set(turn.id, { turn, ...shown });
    this.element.insertBefore(shown.element, this.element.children[index] ?? null);
  }

  /** @param {Turn} turn */
  #question(turn) {
    const element = el("article", { class: "turn is-user", "aria-label": "You" });
    if (turn.attachments.length) element.append(el("div", { class: "media" }, ...turn.attachments.map(mediaOf)));
    if (turn.text) element.append(el("p", { text: turn.text }));
    return { element, refresh: () => {} };
  }

  /** @param {Run} run */
  #answer(run) {
    const { conversation } = this;
    const captions = new Captions(run);
    const canvas = el("canvas", { class: "ribbon", "aria-hidden": "true" });
    const wave = new Waveform(canvas, false);
    const play = el("button", { type: "button", class: "icon-button", onclick: () => toggle() });
    const facts = el("button", { type: "button", class: "facts", title: "Show this answer in the panel" });
    facts.addEventListener("click", () => this.inspect(run));
    const problem = el("div", { class: "problem", role: "alert", hidden: true });
    const sound = el("div", { class: "sound" }, play, canvas);
    const element = el("article", { class: "turn is-answer", "aria-label": run.model || "Answer" });
    element.append(captions.element, problem, sound, facts);
    const playing = () => {
      const { player } = conversation.store.value;
      return player?.isPlaying && player.runs[0] === run ? player : null;
    };
    const toggle = () => (playing() ? conversation.interrupt() : conversation.play(run));
    const heardS = () => playing()?.heardS ?? (run.isOver && run.heard === null ? Infinity : 0);
    wave.show(run, heardS, () => playing() !== null);
    const refresh = () => {
      captions.refresh();
      const player = playing();
      if (player || run.heard === null) captions.light(player ? player.heardS : run.isOver && run.heard === null ? Infinity : -1);
      if (run.heard !== null && !player) captions.strike(run.heard);
      sound.hidden = run.samples === 0;
      const label = player ? "Stop" : "Play the answer";
      if (play.getAttribute("aria-label") !== label) fill(play, icon(player ? "stop" : "play"));
      play.setAttribute("aria-label", label);
      facts.textContent = factsOf(run);
      element.classList.toggle("is-waiting", !run.isOver && !run.text);
      this.#showProblem(problem, run);
      wave.refresh();
    };
    run.watch(refresh);
    refresh();
    return { element, refresh };
  }

  /** @param {HTMLElement} element @param {Run} run */
  #showProblem(element, run) {
    element.hidden = run.error === null;
    if (!run.error || element.textContent) return;
    const hint = /** @type {any} */ (run.error).hint;
    const again = el("button", { type: "button", class: "quiet", text: "Try again", onclick: () => this.conversation.again() });
    fill(element, el("p", { text: run.error.message }), hint ? el("p", { class: "hint", text: hint }) : null, again);
  }
}

/** @param {Run} run */
function factsOf(run) {
  if (run.error && !run.samples) return "Details";
  const { firstText, firstSound, factor, seconds } = figures(run);
  if (!run.isOver && firstText === undefined) {
    const read = run.read;
    return read ? `Reading ${read.prefilled_tokens} of ${read.prompt_tokens} tokens` : "Waiting";
  }
  const parts = [`first text ${duration(firstText)}`];
  if (firstSound !== undefined) parts.push(`first sound ${duration(firstSound)}`, `${seconds.toFixed(1)} s of speech`);
  if (run.isOver && factor !== null && run.marks.lastSound) parts.push(`${factor.toFixed(2)} × real time`);
  return parts.join(" · ");
}

/** @param {import("../types").Attachment} attachment @returns {HTMLElement} */
export function mediaOf({ kind, url, name, bytes }) {
  if (kind === "image") return el("img", { src: url, alt: name });
  if (kind === "video") return el("video", { src: url, controls: true, muted: true, "aria-label": name });
  const label = `${name}, ${size(bytes)}`;
  return el("figure", {}, el("audio", { src: url, controls: true, "aria-label": label }));
}
