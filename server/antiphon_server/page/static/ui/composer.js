// @ts-check
/** The message box: text, attachments, the microphone while a key or button is held, hands-free talk. */

import { filesOf, ofCanvas, ofFile, ofSamples } from "../attachments.js";
import { Microphone } from "../audio/microphone.js";
import { openOutput } from "../audio/output.js";
import { joined } from "../audio/pcm.js";
import { byId, el, fill, icon } from "../dom.js";
import { RATE_HZ } from "../run.js";
import { takePicture } from "./camera.js";

/** @typedef {import("../types").Attachment} Attachment */
/** @typedef {import("../live.js").Live} Live */

const SHORTEST_S = 0.25;
const PHASES = {
  off: "",
  opening: "Opening the microphone",
  listening: "Listening",
  hearing: "You are speaking",
  thinking: "Thinking",
  speaking: "Speaking. Speak to interrupt.",
};

export class Composer {
  /** @type {Attachment[]} */ #attachments = [];
  #text = byId("message", HTMLTextAreaElement);
  #list = byId("attachments", HTMLUListElement);
  #status = byId("composer-status", HTMLElement);
  #hold = byId("hold-button", HTMLButtonElement);
  #microphone = new Microphone();
  /** @type {Int16Array[] | null} */ #recording = null;

  /** @param {import("../conversation.js").Conversation} conversation @param {Live} live */
  constructor(conversation, live) {
    this.conversation = conversation;
    this.live = live;
    this.#listen();
    this.#listenForMedia();
    this.#listenForVoice();
    live.store.subscribe((state) => this.#showPhase(state));
    conversation.store.subscribe(({ isBusy }) => {
      byId("stop-button", HTMLButtonElement).hidden = !isBusy;
    });
  }

  /** @param {string} text @param {Attachment[]} attachments */
  send(text, attachments) {
    openOutput().catch((error) => this.say(error.message));
    if (this.live.isOn && attachments.every((one) => one.kind === "image")) this.live.send(text, attachments);
    else this.conversation.send(text, attachments);
  }

  /** @param {string} sentence for the user */
  say(sentence) {
    this.#status.textContent = sentence;
  }

  #listen() {
    const form = byId("composer", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) this.#stop();
    });
    byId("stop-button", HTMLButtonElement).addEventListener("click", () => this.#stop());
    byId("live-button", HTMLButtonElement).addEventListener("click", () => {
      openOutput().catch((error) => this.say(error.message));
      if (this.live.isOn) this.live.close();
      else this.live.open();
    });
  }

  #listenForMedia() {
    const input = byId("file-input", HTMLInputElement);
    byId("attach-button", HTMLButtonElement).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.#attach([...(input.files ?? [])]);
      input.value = "";
    });
    byId("camera-button", HTMLButtonElement).addEventListener("click", async () => {
      const canvas = await takePicture().catch((error) => this.say(error.message));
      if (canvas) this.add(ofCanvas(canvas, "camera.png"));
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData) this.#attach(filesOf(event.clipboardData));
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer) this.#attach(filesOf(event.dataTransfer));
    });
  }

  #listenForVoice() {
    const hold = this.#hold;
    hold.addEventListener("pointerdown", (event) => {
      hold.setPointerCapture(event.pointerId);
      this.#record();
    });
    for (const name of ["pointerup", "pointercancel"]) hold.addEventListener(name, () => this.#finish());
    const isKey = (/** @type {KeyboardEvent} */ event) => event.key === " " || event.key === "Enter";
    hold.addEventListener("keydown", (event) => {
      if (!isKey(event)) return;
      event.preventDefault();
      if (!event.repeat) this.#record();
    });
    hold.addEventListener("keyup", (event) => isKey(event) && this.#finish());
  }

  #submit() {
    const text = this.#text.value.trim();
    if (!text && !this.#attachments.length) return;
    const attachments = this.#attachments;
    this.#attachments = [];
    this.#text.value = "";
    this.#show();
    this.say("");
    this.send(text, attachments);
  }

  #stop() {
    if (this.live.isOn) this.live.interrupt();
    else this.conversation.interrupt();
  }

  async #record() {
    if (this.#recording) return;
    this.#recording = [];
    this.conversation.interrupt();
    this.#hold.classList.add("is-on");
    this.say("Recording. Release to send.");
    try {
      await this.#microphone.open((samples) => this.#recording?.push(samples));
      if (!this.#recording) this.#microphone.close();
    } catch (error) {
      this.#recording = null;
      this.#hold.classList.remove("is-on");
      this.say(error instanceof Error ? error.message : String(error));
    }
  }

  #finish() {
    const recorded = this.#recording;
    if (!recorded) return;
    this.#recording = null;
    this.#microphone.close();
    this.#hold.classList.remove("is-on");
    const samples = joined(recorded);
    if (samples.length < RATE_HZ * SHORTEST_S) return this.say("Hold the button while you speak.");
    this.say("");
    this.#attachments.push(ofSamples(samples, "spoken.wav"));
    this.#submit();
  }

  /** @param {File[]} files */
  async #attach(files) {
    for (const file of files) {
      try {
        this.add(await ofFile(file));
      } catch (error) {
        this.say(error instanceof Error ? error.message : String(error));
      }
    }
  }

  /** @param {Attachment} attachment */
  add(attachment) {
    this.#attachments.push(attachment);
    this.#show();
    this.#text.focus();
  }

  #show() {
    this.#list.hidden = !this.#attachments.length;
    fill(this.#list, ...this.#attachments.map((one) => this.#chip(one)));
  }

  /** @param {Attachment} attachment */
  #chip(attachment) {
    const remove = el("button", { type: "button", class: "icon-button", "aria-label": `Remove ${attachment.name}` }, icon("close"));
    remove.addEventListener("click", () => {
      this.#attachments = this.#attachments.filter((one) => one !== attachment);
      this.#show();
      this.#text.focus();
    });
    const picture = attachment.kind === "image" ? el("img", { src: attachment.url, alt: "" }) : icon(attachment.kind);
    return el("li", {}, picture, el("span", { text: attachment.name }), remove);
  }

  /** @param {{ phase: import("../live.js").Phase, problem: string }} state */
  #showPhase({ phase, problem }) {
    const button = byId("live-button", HTMLButtonElement);
    button.setAttribute("aria-pressed", String(phase !== "off"));
    byId("composer", HTMLFormElement).dataset.phase = phase;
    this.#hold.disabled = phase !== "off";
    this.say(problem || PHASES[phase]);
  }
}
