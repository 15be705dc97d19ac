// @ts-check
/** The bodies of requests: what the settings and the turns of a conversation ask the server for. */

/** @typedef {import("./types").Settings} Settings */
/** @typedef {import("./types").Attachment} Attachment */
/** @typedef {{ role: "user" | "assistant", text: string, attachments: Attachment[], run?: { text: string, heard: string | null } }} Said */

/** @type {Settings} */
export const DEFAULTS = {
  voice: "",
  speaks: true,
  system: "",
  temperature: null,
  top_p: null,
  max_tokens: null,
  seed: null,
  talker_temperature: null,
  talker_top_k: null,
  talker_seed: null,
  dialect: "",
  turns: "server_vad",
  interrupts: true,
  transcribes: false,
};

const SAMPLING = /** @type {const} */ (["temperature", "top_p", "max_tokens", "seed"]);
const SPEECH_SAMPLING = /** @type {const} */ (["talker_temperature", "talker_top_k", "talker_seed"]);

/** @param {Settings} settings @param {string} model @param {Said[]} turns @returns {any} */
export function chatBody(settings, model, turns) {
  /** @type {any[]} */
  const messages = settings.system ? [{ role: "system", content: settings.system }] : [];
  for (const turn of turns) {
    if (turn.role === "assistant") messages.push({ role: "assistant", content: turn.run?.heard ?? turn.text });
    else messages.push({ role: "user", content: contentOf(turn) });
  }
  /** @type {any} */
  const body = { model, messages, stream: true };
  body.stream_options = { include_usage: true, include_progress: true, include_timing: true };
  for (const name of SAMPLING) if (settings[name] !== null) body[name] = settings[name];
  if (!settings.speaks) return body;
  body.modalities = ["text", "audio"];
  body.audio = { format: "pcm16", timestamp_granularities: ["word"] };
  if (settings.voice) body.audio.voice = settings.voice;
  for (const name of SPEECH_SAMPLING) if (settings[name] !== null) body[name] = settings[name];
  return body;
}

/** @param {Partial<Settings>} settings @param {string} model @param {string} input @returns {any} */
export function speechBody(settings, model, input) {
  /** @type {any} */
  const body = { model, input, response_format: "pcm", stream_format: "sse", timestamp_granularities: ["word"] };
  if (settings.voice) body.voice = settings.voice;
  if (settings.talker_seed !== null && settings.talker_seed !== undefined) body.seed = settings.talker_seed;
  if (settings.talker_temperature !== null && settings.talker_temperature !== undefined) {
    body.temperature = settings.talker_temperature;
  }
  return body;
}

/** @param {Said} turn @returns {any} */
function contentOf(turn) {
  const parts = turn.attachments.map(partOf);
  if (!parts.length) return turn.text;
  return turn.text ? [...parts, { type: "text", text: turn.text }] : parts;
}

/** @param {Attachment} attachment @returns {any} */
function partOf({ kind, url, name }) {
  if (kind === "image") return { type: "image_url", image_url: { url } };
  if (kind === "video") return { type: "video_url", video_url: { url } };
  const format = name.split(".").pop() ?? "wav";
  return { type: "input_audio", input_audio: { data: url.slice(url.indexOf(",") + 1), format } };
}
