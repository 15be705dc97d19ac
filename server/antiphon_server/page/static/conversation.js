// @ts-check
/** The conversation: its turns, the answer that runs and plays, and how one is interrupted. */

import { Player } from "./audio/player.js";
import { answer } from "./net/answer.js";
import { chatBody } from "./request.js";
import { newId, Run } from "./run.js";
import { Store } from "./store.js";

/** @typedef {import("./types").Attachment} Attachment */
/** @typedef {import("./types").Settings} Settings */
/** @typedef {{ id: string, role: "user" | "assistant", text: string, attachments: Attachment[], run?: Run }} Turn */
/** @typedef {{ id: string, turns: Turn[], selected: Run | null, player: Player | null, isBusy: boolean }} State */

export class Conversation {
  store = new Store(/** @type {State} */ ({ id: newId(), turns: [], selected: null, player: null, isBusy: false }));
  /** @type {AbortController | null} */ #abort = null;
  #settings;
  #model;

  /** @param {Store<Settings>} settings @param {() => string} model */
  constructor(settings, model) {
    this.#settings = settings;
    this.#model = model;
  }

  get turns() {
    return this.store.value.turns;
  }

  /** @param {string} text @param {Attachment[]} attachments */
  async send(text, attachments) {
    this.interrupt();
    this.add({ id: newId(), role: "user", text, attachments });
    await this.#answer(this.turns);
  }

  /** Asks for the last answer again. */
  async again() {
    this.interrupt();
    const turns = this.turns.at(-1)?.role === "assistant" ? this.turns.slice(0, -1) : this.turns;
    this.store.set({ turns });
    await this.#answer(turns);
  }

  /** @param {Turn} turn */
  add(turn) {
    this.store.set({ turns: [...this.turns, turn] });
  }

  /** A turn for an answer that begins. @param {Run} run */
  begin(run) {
    run.model = this.#model();
    const turn = { id: run.id, role: /** @type {const} */ ("assistant"), text: "", attachments: [], run };
    this.add(turn);
    this.store.set({ selected: run, isBusy: true });
    run.watch((change) => {
      turn.text = run.text;
      if (change === "end") this.#settle();
    });
    return turn;
  }

  /** Plays a run from its beginning, or as it comes. @param {Run} run */
  async play(run) {
    this.store.value.player?.stop();
    const player = new Player([run]);
    this.store.set({ player, selected: run });
    player.watch(() => player.isPlaying || this.#settle());
    // Without sound the text is still there; the message box says why.
    await player.start().catch(() => player.stop());
    return player;
  }

  /** Ends the answer that runs or plays. What was not heard is no part of the conversation any more. */
  interrupt() {
    const { player } = this.store.value;
    const run = player?.runs[0];
    const isFirstTime = run?.marks.played === undefined && run?.heard === null;
    if (player?.isPlaying && run && isFirstTime) run.heard = heardText(run, player.heardS);
    player?.stop();
    this.#abort?.abort();
    this.#abort = null;
    this.#settle();
  }

  clear() {
    this.interrupt();
    this.store.set({ id: newId(), turns: [], selected: null, player: null });
  }

  /** @param {string} id @param {Turn[]} turns of a conversation that was kept */
  restore(id, turns) {
    this.interrupt();
    this.store.set({ id, turns, selected: turns.findLast((turn) => turn.run)?.run ?? null, player: null });
  }

  /** @param {Turn[]} turns */
  async #answer(turns) {
    const settings = this.#settings.value;
    const run = new Run("chat", chatBody(settings, this.#model(), turns));
    run.dialect = settings.dialect;
    const abort = new AbortController();
    this.#abort = abort;
    this.begin(run);
    if (settings.speaks) this.play(run);
    await answer(run, abort.signal);
    if (this.#abort === abort) this.#abort = null;
  }

  #settle() {
    const { player, turns } = this.store.value;
    const isBusy = Boolean(player?.isPlaying || turns.at(-1)?.run?.isOver === false);
    if (isBusy !== this.store.value.isBusy) this.store.set({ isBusy });
  }
}

/** The words of a run that begin before this second. @param {Run} run @param {number} seconds */
export function heardText(run, seconds) {
  return run.words.filter((word) => word.start < seconds).map((word) => word.word).join("").trimEnd();
}
