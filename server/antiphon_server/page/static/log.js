// @ts-check
/** The log of what was sent and received: the last entries, without the base64 of media. */

/** @typedef {import("./types").LogEntry} LogEntry */

const MOST = 2_000;
const LONGEST = 160;

export class Log {
  /** @type {LogEntry[]} */ entries = [];
  /** @type {() => void} */ onChange = () => {};

  /** @param {LogEntry["direction"]} direction @param {string} kind @param {unknown} detail @param {number} bytes */
  add(direction, kind, detail, bytes = 0) {
    this.entries.push({ at: performance.now(), direction, kind, bytes, detail: shortened(detail) });
    if (this.entries.length > MOST) this.entries.splice(0, MOST / 10);
    this.onChange();
  }

  /** Follows a run: its request, and each of its events. @param {import("./run.js").Run} run */
  follow(run) {
    let logged = run.events.length;
    if (run.kind !== "realtime") this.add("sent", `${run.kind} request`, run.request, run.bytes ?? 0);
    run.watch((change) => {
      for (; run.kind !== "realtime" && logged < run.events.length; logged++) {
        const { data } = run.events[logged] ?? { data: "" };
        this.add("received", kindOf(data), data === "[DONE]" ? "" : JSON.parse(data), data.length);
      }
      if (change === "end" && run.error) this.add("page", "error", run.error.message);
    });
  }
}

/** @param {string} data of an event */
function kindOf(data) {
  if (data === "[DONE]") return "done";
  const event = JSON.parse(data);
  if (event.type) return event.type;
  const delta = event.choices?.[0]?.delta;
  if (event.error) return "error";
  if (event.usage && !delta) return "usage";
  if (event.timing) return "timing";
  if (event.progress) return "progress";
  if (delta?.audio?.data) return "speech";
  if (delta?.audio?.words) return "words";
  if (delta?.audio?.transcript || delta?.content) return "text";
  return event.choices?.[0]?.finish_reason ? "finish" : "chunk";
}

/** @param {unknown} value @returns {unknown} the same with its long strings cut */
function shortened(value) {
  if (typeof value === "string") {
    return value.length > LONGEST ? `${value.slice(0, 40)}… (${value.length} characters)` : value;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shortened(one)]));
}
