// @ts-check
/** The server's load, read from its Prometheus metrics. */

import { request } from "./server.js";

/** @typedef {{ used: number, total: number }} Share */
/** @typedef {{ streams: Share, thinkerCache: Share, talkerCache: Share, queue: number, running: number, frameS: number, restarts: number, realtime: number }} Load */

/** @param {string} text @returns {(name: string, labels?: Record<string, string>) => number} sums what matches */
export function parse(text) {
  /** @type {{ name: string, labels: string, value: number }[]} */
  const samples = [];
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (found) samples.push({ name: found[1] ?? "", labels: found[2] ?? "", value: Number(found[3]) });
  }
  return (name, labels = {}) =>
    samples
      .filter((one) => one.name === name)
      .filter((one) => Object.entries(labels).every(([label, value]) => one.labels.includes(`${label}="${value}"`)))
      .reduce((sum, one) => sum + one.value, 0);
}

/** @returns {Promise<Load>} */
export async function readLoad() {
  const of = parse(await (await request("metrics")).text());
  /** @param {string} stage */
  const cache = (stage) => {
    const used = of("antiphon_admission_cache_blocks", { stage, state: "used" });
    return { used, total: used + of("antiphon_admission_cache_blocks", { stage, state: "free" }) };
  };
  return {
    streams: { used: of("antiphon_admission_live_streams"), total: of("antiphon_admission_live_streams_limit") },
    thinkerCache: cache("thinker"),
    talkerCache: cache("talker"),
    queue: of("antiphon_stage_queue_depth"),
    running: of("antiphon_engine_requests"),
    frameS: of("antiphon_admission_frame_seconds"),
    restarts: of("antiphon_engine_restarts_total"),
    realtime: of("antiphon_realtime_connections"),
  };
}
