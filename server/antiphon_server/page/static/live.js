// @ts-check
/** Hands-free talk: the microphone goes to `/v1/realtime`, and its events become turns of the conversation. */

import { ofSamples } from "./attachments.js";
import { Microphone } from "./audio/microphone.js";
import { fromBase64, joined } from "./audio/pcm.js";
import { heardText } from "./conversation.js";
import { RealtimeConnection, sessionOf } from "./net/realtime.js";
import { newId, RATE_HZ, Run } from "./run.js";
import { Store } from "./store.js";

/** @typedef {import("./conversation.js").Conversation} Conversation */
/** @typedef {import("./types").Attachment} Attachment */
/** @typedef {"off" | "opening" | "listening" | "hearing" | "thinking" | "speaking"} Phase */

const KEPT_SAMPLES = RATE_HZ * 120;

export class Live {
  store = new Store({ phase: /** @type {Phase} */ ("off"), problem: "" });
  #microphone = new Microphone();
  #connection = new RealtimeConnection();
  /** @type {Int16Array[]} */ #heard = [];
  #heardSamples = 0;
  #droppedSamples = 0;
  #speechMs = 0;
  /** When the server heard the end of what the user said; 0: a typed message. */ #stoppedMs = 0;
  /** @type {Run | null} */ #run = null;
  #itemId = "";

  /**
   * @param {Conversation} conversation
   * @param {Store<import("./types").Settings>} settings
   * @param {() => string} model
   * @param {(direction: "sent" | "received", event: any, bytes: number) => void} log
   */
  constructor(conversation, settings, model, log) {
    this.conversation = conversation;
    this.settings = settings;
    this.model = model;
    this.#connection.onEvent = (event) => {
      log("received", event, event.delta?.length ?? 0);
      this.#take(event);
    };
    this.#connection.onSend = (event, bytes) => log("sent", event, bytes);
    this.#connection.onClose = (reason) => this.close(reason || "The connection was closed.");
    settings.subscribe((value) => this.#connection.send({ type: "session.update", session: sessionOf(value) }));
  }

  get isOn() {
    return this.store.value.phase !== "off";
  }

  async open() {
    this.conversation.interrupt();
    this.store.set({ phase: "opening", problem: "" });
    try {
      await this.#connection.open(this.model(), sessionOf(this.settings.value));
      this.#recall();
      await this.#microphone.open((samples) => this.#hear(samples));
      // It may have been closed while the browser asked the user.
      if (!this.#connection.isOpen) return this.#microphone.close();
      this.store.set({ phase: "listening" });
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} [problem] for the user */
  close(problem = "") {
    this.#microphone.close();
    this.#connection.close();
    if (this.#run && !this.#run.isOver) this.#run.cut();
    this.#heard = [];
    this.#heardSamples = this.#droppedSamples = 0;
    this.store.set({ phase: "off", problem });
  }

  /** A typed message. @param {string} text @param {Attachment[]} attachments */
  send(text, attachments) {
    this.interrupt();
    const images = attachments.filter((one) => one.kind === "image");
    const content = [
      ...images.map(({ url }) => ({ type: "input_image", image_url: url })),
      ...(text ? [{ type: "input_text", text }] : []),
    ];
    this.conversation.add({ id: newId(), role: "user", text, attachments: images });
    this.#connection.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.#connection.send({ type: "response.create" });
  }

  /** Ends the answer that plays; the server forgets what was not heard. */
  interrupt() {
    const player = this.conversation.store.value.player;
    if (this.#run && !this.#run.isOver) this.#connection.send({ type: "response.cancel" });
    if (player?.isPlaying && this.#run === player.runs[0] && this.#run) this.#truncate(this.#run, player.heardS);
    player?.stop();
  }

  /** What was said before belongs to the conversation. */
  #recall() {
    for (const turn of this.conversation.turns) {
      const text = turn.run?.heard ?? turn.text;
      if (!text) continue;
      const type = turn.role === "user" ? "input_text" : "output_text";
      const item = { type: "message", role: turn.role, content: [{ type, text }] };
      this.#connection.send({ type: "conversation.item.create", item });
    }
  }

  /** @param {Int16Array} samples */
  #hear(samples) {
    this.#connection.append(samples);
    this.#heard.push(samples);
    this.#heardSamples += samples.length;
    while (this.#heardSamples > KEPT_SAMPLES) {
      const dropped = this.#heard.shift()?.length ?? 0;
      this.#heardSamples -= dropped;
      this.#droppedSamples += dropped;
    }
  }

  /** @param {any} event */
  #take(event) {
    const run = this.#run;
    run?.record(JSON.stringify(event));
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#speechMs = event.audio_start_ms;
        this.#bargeIn();
        return this.store.set({ phase: "hearing" });
      case "input_audio_buffer.speech_stopped":
        this.#stoppedMs = performance.now();
        this.#addSpoken(event.audio_end_ms, event.item_id);
        return this.store.set({ phase: "thinking" });
      case "conversation.item.input_audio_transcription.completed":
        return this.#addTranscript(event.item_id, event.transcript);
      case "response.created":
        return this.#begin(event);
      case "response.output_item.added":
        this.#itemId = event.item.id;
        return;
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return this.#addText(event);
      case "response.output_audio.delta":
        run?.addSpeech(fromBase64(event.delta));
        return this.store.set({ phase: "speaking" });
      case "response.done":
        return this.#end(event.response);
      case "error":
        return this.store.set({ problem: event.error.message });
    }
  }

  /** @param {any} event */
  #begin(event) {
    const run = new Run("realtime", { session: sessionOf(this.settings.value), response: event.response.id });
    run.start(0, this.#stoppedMs || performance.now());
    this.#stoppedMs = 0;
    run.record(JSON.stringify(event));
    this.#run = run;
    this.conversation.begin(run);
    if (this.settings.value.speaks) this.conversation.play(run);
  }

  /** @param {any} event */
  #addText(event) {
    const run = this.#run;
    if (!run) return;
    const start = event.start_time ?? run.seconds;
    const last = run.words.at(-1);
    if (last) last.end = Math.max(last.start, start);
    run.addText(event.delta);
    run.addWords([{ word: event.delta, start, end: start + 0.3 }]);
  }

  /** @param {any} response */
  #end(response) {
    const run = this.#run;
    if (!run) return;
    run.usage = response.usage;
    run.finish = response.status;
    const failure = response.status_details?.error;
    if (failure) run.fail(new Error(failure.message));
    else run.end();
    this.store.set({ phase: this.store.value.phase === "hearing" ? "hearing" : "listening" });
  }

  #bargeIn() {
    const player = this.conversation.store.value.player;
    if (!player?.isPlaying || !this.settings.value.interrupts) return;
    if (this.#run && this.#run === player.runs[0]) this.#truncate(this.#run, player.heardS);
    player.stop();
  }

  /** @param {Run} run @param {number} seconds that were heard */
  #truncate(run, seconds) {
    run.heard = heardText(run, seconds);
    run.finish = "interrupted";
    const audio_end_ms = Math.min(Math.floor(seconds * 1e3), Math.floor(run.seconds * 1e3));
    const where = { item_id: this.#itemId, content_index: 0, audio_end_ms };
    if (run.samples) this.#connection.send({ type: "conversation.item.truncate", ...where });
  }

  /** @param {number} untilMs @param {string} id of the item */
  #addSpoken(untilMs, id) {
    const samples = joined(this.#heard);
    const at = (/** @type {number} */ ms) => Math.max((ms * RATE_HZ) / 1e3 - this.#droppedSamples, 0);
    const spoken = samples.slice(at(this.#speechMs), at(untilMs));
    this.conversation.add({ id, role: "user", text: "", attachments: [ofSamples(spoken, "spoken.wav")] });
  }

  /** @param {string} id @param {string} text */
  #addTranscript(id, text) {
    const turns = this.conversation.turns.map((turn) => (turn.id === id ? { ...turn, text } : turn));
    this.conversation.store.set({ turns });
  }
}
