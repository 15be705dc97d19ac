// @ts-check
/** A trace: a conversation as a file. Its answers play again without a server, or are asked for and compared. */

import { fromBase64, toBase64 } from "./audio/pcm.js";
import { answer } from "./net/answer.js";
import { Run } from "./run.js";
import { areTurns } from "./shape.js";

/** @typedef {import("./types").Conversation} Conversation */
/** @typedef {{ isSame: boolean, text: boolean, samples: number, differsAt: number, error: string }} Verdict */

const FORMAT = "antiphon-trace";
const OTHER = "This file is no trace of this page.";

/** @param {Conversation} conversation @returns {string} JSON */
export function write(conversation) {
  const turns = conversation.turns.map((turn) => {
    const { run } = turn;
    return run ? { ...turn, run: { ...run, pcm: toBase64(new Uint8Array(run.pcm)) } } : turn;
  });
  return JSON.stringify({ format: FORMAT, version: 1, ...conversation, turns });
}

/** Throws an error with a sentence for the user. @param {string} text @returns {Conversation} */
export function parse(text) {
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    throw new Error("This file is no trace: it is no JSON.");
  }
  if (given?.format !== FORMAT || given.version !== 1 || !areTurns(given.turns)) throw new Error(OTHER);
  for (const turn of given.turns) if (turn.run) turn.run.pcm = samplesOf(turn.run.pcm);
  return given;
}

/** @param {string} base64 @returns {ArrayBuffer} of 16-bit samples */
function samplesOf(base64) {
  try {
    return /** @type {ArrayBuffer} */ (fromBase64(base64).slice().buffer);
  } catch {
    throw new Error(OTHER);
  }
}

/** The same request again. @param {Run} run @returns {Promise<{ again: Run, verdict: Verdict }>} */
export async function repeat(run) {
  const again = new Run(run.kind, run.request);
  again.dialect = run.dialect;
  again.model = run.model;
  await answer(again, new AbortController().signal);
  return { again, verdict: compare(run, again) };
}

/** @param {Run} run @param {Run} again @returns {Verdict} */
function compare(run, again) {
  const [one, other] = [run.pcm, again.pcm];
  const length = Math.min(one.length, other.length);
  let differsAt = -1;
  for (let at = 0; at < length && differsAt < 0; at++) if (one[at] !== other[at]) differsAt = at;
  if (differsAt < 0 && one.length !== other.length) differsAt = length;
  const text = run.text === again.text;
  const error = again.error?.message ?? "";
  return { isSame: text && differsAt < 0 && !error, text, samples: one.length, differsAt, error };
}

/** @param {Verdict} verdict */
export function sentence(verdict) {
  if (verdict.error) return verdict.error;
  if (verdict.isSame) return `The same: text and ${verdict.samples.toLocaleString("en")} samples, bit for bit.`;
  if (!verdict.text) return "Different: the text is another.";
  return `The same text. The speech differs from sample ${verdict.differsAt.toLocaleString("en")} on.`;
}
