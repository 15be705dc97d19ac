// @ts-check
/** The stages of a run as spans of time: those that the server states, and those that this page measured. */

/** @typedef {{ name: string, from: number, to: number, where: "server" | "page", part: "start" | "whole", explanation: string }} Span */

/** Name, first mark, last mark, explanation. @type {readonly (readonly [string, string, string, string])[]} */
const SERVER = [
  ["Upload", "arrived_ms", "body_read_ms", "The body arrives"],
  ["Parse", "body_read_ms", "admitted_ms", "The request is read and checked"],
  ["Prompt", "admitted_ms", "rendered_ms", "The prompt is written"],
  ["Decode", "rendered_ms", "media_ready_ms", "Media are decoded"],
  ["Admission", "prepared_ms", "started_ms", "It waits for capacity"],
  ["Queue", "started_ms", "thinker_scheduled_ms", "It waits for a step of the Thinker"],
  ["Prefill", "thinker_scheduled_ms", "thinker_first_token_ms", "The Thinker reads the prompt"],
  ["Voice", "talker_asked_ms", "first_frame_ms", "The Talker makes the first frame"],
  ["Start buffer", "first_frame_ms", "first_packet_ms", "Frames are gathered for a smooth start"],
  ["Speech", "first_packet_ms", "ended_ms", "Frames are made and sent"],
];

const PAGE = /** @type {const} */ ([
  ["Text", "firstText", "end", "Text arrives here"],
  ["Sound", "firstSound", "lastSound", "Speech arrives here"],
  ["Playing", "heard", "played", "The speech is heard"],
]);

/** @param {import("./run.js").Run} run @returns {Span[]} */
export function spansOf(run) {
  const spans = [...serverSpans(run), ...pageSpans(run)];
  return spans.filter((span) => Number.isFinite(span.from) && span.to >= span.from);
}

/** @param {import("./run.js").Run} run @returns {Span[]} */
function serverSpans(run) {
  const timing = run.timing;
  if (!timing) return [];
  // The server's clock begins with the first byte of the request. Its events arrive later than they are sent.
  const pairs = [
    [run.marks.firstText, timing.first_text_ms],
    [run.marks.firstSound, timing.first_packet_ms],
  ];
  const offsets = pairs.map(([here, there]) => (here ?? NaN) - (there ?? NaN)).filter(Number.isFinite);
  const offset = Math.max(0, offsets.length ? Math.min(...offsets) : 0);
  // The last chunk is written before the end, which the page sees.
  const ended_ms = (run.marks.end ?? NaN) - offset;
  // A long recording is admitted before it is decoded whole.
  const decoded = timing.media_ready_ms ?? NaN;
  const prepared_ms = decoded <= (timing.started_ms ?? NaN) ? decoded : (timing.rendered_ms ?? NaN);
  const at = { arrived_ms: 0, ended_ms, prepared_ms, ...timing };
  return SERVER.map(([name, first, last, explanation]) => {
    const from = /** @type {Record<string, number>} */ (at)[first] ?? NaN;
    const to = /** @type {Record<string, number>} */ (at)[last] ?? NaN;
    return { name, from: from + offset, to: to + offset, where: "server", part: last === "ended_ms" ? "whole" : "start", explanation };
  });
}

/** @param {import("./run.js").Run} run @returns {Span[]} */
function pageSpans(run) {
  const first = run.marks.firstText ?? run.marks.firstSound ?? run.marks.end ?? run.now;
  /** @type {Span} */
  const wait = { name: "Wait", from: 0, to: first, where: "page", part: "start", explanation: "From the request to the first answer" };
  const rest = PAGE.map(/** @returns {Span} */ ([name, from, to, explanation]) => {
    const until = run.marks[to] ?? (run.isOver ? NaN : run.now);
    return { name, from: run.marks[from] ?? NaN, to: until, where: "page", part: "whole", explanation };
  });
  return run.timing ? rest : [wait, ...rest];
}
