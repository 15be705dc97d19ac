// @ts-check
/** What is known of one run: its figures, its timeline, the playing buffer, its sound, its usage. */

import { byId, duration, el, fill } from "../dom.js";
import { SlackPlot } from "../draw/slack.js";
import { Waveform } from "../draw/waveform.js";
import { figures } from "../run.js";
import { spansOf } from "../spans.js";

/** @typedef {import("../run.js").Run} Run */

export class TimingPanel {
  /** @type {Run | null} */ #run = null;
  /** @type {import("../audio/player.js").Player | null} */ #player = null;
  /** @type {() => void} */ #unwatch = () => {};
  #slack = new SlackPlot(byId("slack-plot", HTMLCanvasElement));
  #wave = new Waveform(byId("wave-plot", HTMLCanvasElement));

  /** @param {import("../conversation.js").Conversation} conversation */
  constructor(conversation) {
    this.conversation = conversation;
    conversation.store.subscribe(({ selected, player }) => {
      if (selected !== this.#run) this.#show(selected);
      const playing = player?.runs[0] === selected ? player : null;
      const heardS = () => (playing?.isPlaying ? playing.heardS : selected?.isOver ? Infinity : 0);
      this.#wave.show(selected, heardS, () => playing?.isPlaying ?? false);
      if (player !== this.#player) playing?.watch(() => this.#slack.refresh());
      this.#player = player;
    });
    this.#refresh();
  }

  /** @param {Run | null} run */
  #show(run) {
    this.#unwatch();
    this.#run = run;
    this.#slack.show(run);
    let isDue = false;
    this.#unwatch =
      run?.watch((change) => {
        if (change === "speech") this.#wave.refresh();
        if (isDue) return;
        isDue = true;
        setTimeout(() => {
          isDue = false;
          if (run === this.#run) this.#refresh();
        }, 100);
      }) ?? (() => {});
    this.#refresh();
  }

  #refresh() {
    const run = this.#run;
    byId("timing-empty", HTMLElement).hidden = run !== null;
    byId("timing-run", HTMLElement).hidden = run === null;
    if (!run) return;
    this.#fillFigures(run);
    const spans = spansOf(run);
    for (const part of /** @type {const} */ (["start", "whole"])) {
      const rows = timeline(spans.filter((span) => span.part === part));
      fill(byId(`timeline-${part}`, HTMLElement), ...rows);
    }
    fill(byId("usage", HTMLElement), ...usageRows(run.usage));
  }

  /** @param {Run} run */
  #fillFigures(run) {
    const found = figures(run);
    const cells = [
      ["First text", duration(found.firstText), "From the request to the first text"],
      ["First sound", duration(found.firstSound), "From the request to the first samples of speech"],
      ["Heard", duration(found.heard), "From the request to the first sample that was played"],
      ["Real time", found.factor === null ? "–" : `${found.factor.toFixed(2)} ×`, "Time from the request to the last sample, for each second of speech"],
      ["Speech", found.seconds ? `${found.seconds.toFixed(2)} s` : "–", "Length of the speech"],
      ["Underruns", found.seconds ? String(found.underruns) : "–", "How often the player had nothing to play"],
    ];
    const list = cells.map(([name, value, title]) =>
      el("div", { title }, el("dt", { text: name }), el("dd", { text: value })),
    );
    fill(byId("figures", HTMLElement), ...list);
  }
}

/** @param {import("../spans.js").Span[]} spans on one scale @returns {HTMLElement[]} */
function timeline(spans) {
  const total = Math.max(...spans.map((span) => span.to), 1);
  return spans.map(({ name, from, to, where, explanation }) => {
    const bar = el("span", { class: `bar is-${where}` });
    bar.style.left = `${(100 * from) / total}%`;
    bar.style.width = `${Math.max((100 * (to - from)) / total, 0.4)}%`;
    const track = el("span", { class: "track", "aria-hidden": "true" }, bar);
    const label = el("span", { class: "span-name", text: name });
    return el("li", { title: `${explanation}: ${duration(from)} to ${duration(to)}` }, label, track, el("span", { class: "span-time", text: duration(to - from) }));
  });
}

/** @param {any} usage @returns {HTMLElement[]} */
function usageRows(usage) {
  if (!usage) return [el("p", { class: "hint", text: "Arrives with the end of the answer." })];
  const input = usage.prompt_tokens_details ?? usage.input_token_details ?? {};
  const output = usage.completion_tokens_details ?? usage.output_token_details ?? {};
  const rows = [
    ["Input", usage.prompt_tokens ?? usage.input_tokens, input],
    ["Output", usage.completion_tokens ?? usage.output_tokens, output],
  ];
  const kinds = (/** @type {any} */ details) =>
    Object.entries(details)
      .filter(([, count]) => typeof count === "number" && count > 0)
      .map(([kind, count]) => `${kind.replace("_tokens", "")} ${count}`)
      .join(" · ");
  return rows.map(([name, count, details]) =>
    el("div", {}, el("dt", { text: name }), el("dd", {}, `${count ?? 0} tokens`, el("span", { class: "hint", text: kinds(details) }))),
  );
}
