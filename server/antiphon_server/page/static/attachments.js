// @ts-check
/** Pictures, recordings and clips that go with a message: from files, the clipboard, the camera, the microphone. */

import { dataUrl, wav } from "./audio/pcm.js";
import { RATE_HZ } from "./run.js";

/** @typedef {import("./types").Attachment} Attachment */

const MOST_BYTES = 60e6;

/** Throws an error with a sentence for the user. @param {File} file @returns {Promise<Attachment>} */
export async function ofFile(file) {
  const kind = /^(image|audio|video)\//.exec(file.type)?.[1];
  if (!kind) throw new Error(`${file.name} is no picture, recording or clip.`);
  if (file.size > MOST_BYTES) throw new Error(`${file.name} is larger than 60 MB.`);
  const url = dataUrl(new Uint8Array(await file.arrayBuffer()), file.type);
  return { kind: /** @type {Attachment["kind"]} */ (kind), name: file.name, url, bytes: file.size };
}

/** @param {Int16Array} samples at 24 kHz @param {string} name @returns {Attachment} */
export function ofSamples(samples, name) {
  const file = wav(samples, RATE_HZ);
  return { kind: "audio", name, url: dataUrl(file, "audio/wav"), bytes: file.length };
}

/** @param {HTMLCanvasElement} canvas @param {string} name @returns {Attachment} */
export function ofCanvas(canvas, name) {
  const url = canvas.toDataURL("image/png");
  return { kind: "image", name, url, bytes: Math.round((url.length * 3) / 4) };
}

/** @param {DataTransfer} given @returns {File[]} */
export function filesOf(given) {
  return [...given.files].filter((file) => /^(image|audio|video)\//.test(file.type));
}
