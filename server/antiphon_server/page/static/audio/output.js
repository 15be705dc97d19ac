// @ts-check
/** The way out for sound: one audio context, at the rate of the speech. */

import { RATE_HZ } from "../run.js";

/** @type {Promise<AudioContext> | null} */ let opening = null;

/** The context, with its worklets. Opened by the first gesture that needs it. */
export function openOutput() {
  opening ??= open();
  return opening;
}

async function open() {
  const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
  if (!context.audioWorklet) throw new Error("The browser plays speech only on pages on localhost or over https.");
  await context.audioWorklet.addModule(new URL("player.worklet.js", import.meta.url));
  if (context.state === "suspended") context.resume();
  return context;
}

/** Seconds from a sample's turn to the loudspeaker. @param {AudioContext} context */
export function latency(context) {
  return context.outputLatency || context.baseLatency || 0;
}
