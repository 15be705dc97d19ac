// @ts-check
/** The settings of the next request: voice, system prompt, sampling, with the limits that the API states. */

import { byId, el, fill } from "../dom.js";
import { read } from "../net/server.js";

/** @typedef {import("../types").Settings} Settings */
/** @typedef {import("../store.js").Store<Settings>} SettingsStore */

const NUMBERS = /** @type {const} */ ([
  ["temperature", "Temperature", "any"],
  ["top_p", "Top p", "any"],
  ["max_tokens", "Most tokens", 1],
  ["seed", "Seed", 1],
]);
const SPEECH_NUMBERS = /** @type {const} */ ([
  ["talker_temperature", "Temperature", "any"],
  ["talker_top_k", "Top k", 1],
  ["talker_seed", "Seed", 1],
]);

export class SettingsPanel {
  /** @param {SettingsStore} store @param {import("../types").Model} model */
  constructor(store, model) {
    this.store = store;
    const voice = el("select", { id: "set-voice" }, ...model.voices.map((one) => el("option", { value: one, text: one })));
    if (!model.voices.includes(store.value.voice)) store.set({ voice: model.voices[0] ?? "" });
    voice.value = store.value.voice;
    voice.addEventListener("change", () => store.set({ voice: voice.value }));
    const system = el("textarea", { id: "set-system", rows: 3, value: store.value.system, placeholder: "None" });
    system.addEventListener("change", () => store.set({ system: system.value.trim() }));
    fill(
      byId("panel-settings", HTMLElement),
      section(
        "Answer",
        row("set-voice", "Voice", voice),
        this.#check("speaks", "Speak the answer"),
        row("set-system", "System prompt", system, `The context holds ${model.max_model_len.toLocaleString("en")} tokens.`),
        this.#choice("dialect", "Dialect", { "": "The server's", openai: "OpenAI", dashscope: "DashScope", union: "Both" }),
      ),
      section("Sampling of the text", ...NUMBERS.map(([name, label, step]) => this.#number(name, label, step))),
      section("Sampling of the speech", ...SPEECH_NUMBERS.map(([name, label, step]) => this.#number(name, label, step))),
      section(
        "Hands-free",
        this.#choice("turns", "End of a turn", { server_vad: "Silence", semantic_vad: "Silence, by eagerness" }),
        this.#check("interrupts", "Speech interrupts the answer"),
        this.#check("transcribes", "Write down what I say"),
      ),
    );
    this.#readLimits();
  }

  /** @param {"speaks" | "interrupts" | "transcribes"} name @param {string} label */
  #check(name, label) {
    const box = el("input", { type: "checkbox", id: `set-${name}` });
    box.checked = this.store.value[name];
    box.addEventListener("change", () => this.store.set({ [name]: box.checked }));
    return el("label", { class: "check" }, box, label);
  }

  /** @param {"dialect" | "turns"} name @param {string} label @param {Record<string, string>} options */
  #choice(name, label, options) {
    const made = Object.entries(options).map(([value, text]) => el("option", { value, text }));
    const select = el("select", { id: `set-${name}` }, ...made);
    select.value = this.store.value[name];
    select.addEventListener("change", () => this.store.set(/** @type {any} */ ({ [name]: select.value })));
    return row(`set-${name}`, label, select);
  }

  /** @param {(typeof NUMBERS | typeof SPEECH_NUMBERS)[number][0]} name @param {string} label @param {string | number} step */
  #number(name, label, step) {
    const input = el("input", { type: "number", id: `set-${name}`, step, placeholder: "Default", inputmode: "decimal" });
    input.value = String(this.store.value[name] ?? "");
    input.addEventListener("change", () => {
      if (input.reportValidity()) this.store.set({ [name]: input.value === "" ? null : Number(input.value) });
    });
    return row(`set-${name}`, label, input);
  }

  async #readLimits() {
    const document = await read("openapi.json").catch(() => null);
    const fields = document?.components?.schemas?.ChatRequest?.properties ?? {};
    for (const [name] of [...NUMBERS, ...SPEECH_NUMBERS]) {
      const field = fields[name];
      const limits = [field, ...(field?.anyOf ?? [])].find((one) => one?.maximum !== undefined);
      if (!limits) continue;
      const input = byId(`set-${name}`, HTMLInputElement);
      input.max = limits.maximum;
      input.min = limits.minimum ?? 0;
      const isSmall = limits.maximum <= 1e6;
      if (isSmall) input.title = `${input.min} to ${limits.maximum.toLocaleString("en")}`;
    }
  }
}

/** @param {string} title @param {...Node} rows */
function section(title, ...rows) {
  return el("fieldset", {}, el("legend", { text: title }), ...rows);
}

/** @param {string} id @param {string} label @param {HTMLElement} control @param {string} [hint] */
function row(id, label, control, hint) {
  return el("div", { class: "row" }, el("label", { for: id, text: label }), control, hint ? el("p", { class: "hint", text: hint }) : null);
}
