// @ts-check
/** Sends a chat or speech request and feeds the events of its answer to a run. */

import { fromBase64 } from "../audio/pcm.js";
import { errorOf, request, ServerError } from "./server.js";
import { events } from "./sse.js";

/** @typedef {import("../run.js").Run} Run */

const PATHS = { chat: "v1/chat/completions", speech: "v1/audio/speech" };

/**
 * Returns when the answer has ended. A failure is the run's error.
 * @param {Run} run @param {AbortSignal} signal
 */
export async function answer(run, signal) {
  const path = run.kind === "speech" ? PATHS.speech : PATHS.chat;
  const body = JSON.stringify(run.request);
  run.start(body.length);
  try {
    const headers = new Headers({ "content-type": "application/json" });
    if (run.dialect && run.kind === "chat") headers.set("x-antiphon-dialect", run.dialect);
    const response = await request(path, { method: "POST", body, headers, signal });
    run.mark("headers");
    if (!response.body) throw new ServerError("The answer has no body.");
    for await (const data of events(response.body)) read(run, data);
    if (!run.isOver) throw new ServerError("The answer broke off.", 0, "broken_stream");
  } catch (error) {
    if (signal.aborted) run.cut();
    else run.fail(error instanceof Error ? error : new Error(String(error)));
  }
}

/** One event of an answer, as it came or as a trace has it. @param {Run} run @param {string} data */
export function read(run, data) {
  run.record(data);
  if (data === "[DONE]") return run.end();
  const event = JSON.parse(data);
  if (event.error) throw errorOf(event);
  if (run.kind === "speech") return readSpeech(run, event);
  if (event.usage) run.usage = event.usage;
  if (event.timing) run.timing = event.timing;
  if (event.progress) run.progress(event.progress);
  for (const choice of event.choices ?? []) {
    const delta = choice.delta ?? {};
    if (delta.reasoning) run.addReasoning(delta.reasoning);
    const text = delta.audio?.transcript ?? delta.content;
    if (text) run.addText(text);
    if (delta.audio?.data) run.addSpeech(fromBase64(delta.audio.data));
    if (delta.audio?.words) run.addWords(delta.audio.words);
    if (choice.finish_reason) run.finish = choice.finish_reason;
  }
}

/** @param {Run} run @param {any} event */
function readSpeech(run, event) {
  if (event.audio) run.addSpeech(fromBase64(event.audio));
  if (event.words) {
    run.addText(event.words.map((/** @type {import("../types").Word} */ one) => one.word).join(""));
    run.addWords(event.words);
  }
  if (event.type === "speech.audio.done") {
    run.usage = event.usage;
    run.end();
  }
}
