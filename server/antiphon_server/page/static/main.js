// @ts-check
/** The page: makes its parts and connects them. */

import { Conversation } from "./conversation.js";
import { announce, byId } from "./dom.js";
import { cost } from "./draw/painter.js";
import { Live } from "./live.js";
import { Log } from "./log.js";
import { read, ServerError } from "./net/server.js";
import { DEFAULTS } from "./request.js";
import { Store } from "./store.js";
import { CodePanel } from "./ui/code.js";
import { ComparePanel } from "./ui/compare.js";
import { Composer } from "./ui/composer.js";
import { startExamples } from "./ui/examples.js";
import { Health } from "./ui/health.js";
import { HistoryDialog } from "./ui/history.js";
import "./ui/key.js";
import { LoadPanel } from "./ui/load.js";
import { LogPanel } from "./ui/log.js";
import { SettingsPanel } from "./ui/settings.js";
import { startTabs } from "./ui/tabs.js";
import { startTheme } from "./ui/theme.js";
import { TimingPanel } from "./ui/timing.js";
import { TurnList } from "./ui/turns.js";

/** @typedef {import("./types").Model} Model */

const settings = new Store(DEFAULTS, "antiphon-settings");
const log = new Log();
const health = new Health();
/** @type {Model | null} */ let model = null;
const modelId = () => model?.id ?? "";
const conversation = new Conversation(settings, modelId);
const live = new Live(conversation, settings, modelId, (direction, event, bytes) => log.add(direction, event.type, event, bytes));

startTheme();
health.start();
const load = new LoadPanel();
const logPanel = new LogPanel(log);
new TimingPanel(conversation);
new CodePanel(conversation);
new HistoryDialog(conversation);
const composer = new Composer(conversation, live);
const choose = startTabs(byId("tabs", HTMLElement), (name) => {
  load.show(name === "timing" && model !== null);
  logPanel.show(name === "log");
});
new TurnList(byId("scroll", HTMLElement), byId("turns", HTMLElement), byId("welcome", HTMLElement), conversation, (run) => {
  conversation.store.set({ selected: run });
  choose("timing");
  document.body.classList.add("shows-panel");
});
startExamples((text, attachments) => composer.send(text, attachments));

/** @type {import("./run.js").Run | null} */ let followed = null;
conversation.store.subscribe(({ selected }) => {
  if (!selected || selected === followed || selected.isOver) return;
  followed = selected;
  log.follow(selected);
  selected.watch((change) => {
    if (change !== "end") return;
    if (selected.error) health.ask();
    if (!selected.samples && selected.text) announce(selected.text);
  });
});

byId("new-button", HTMLButtonElement).addEventListener("click", () => {
  live.close();
  conversation.clear();
  byId("message", HTMLTextAreaElement).focus();
});
byId("panel-button", HTMLButtonElement).addEventListener("click", ({ currentTarget }) => {
  const isShown = document.body.classList.toggle("shows-panel");
  /** @type {HTMLElement} */ (currentTarget).setAttribute("aria-pressed", String(isShown));
});

/** The voices of the model, its default first. @param {Model} found @returns {Promise<string[]>} */
async function voicesOf(found) {
  const { voices } = await read("v1/audio/voices");
  const usual = voices.find((/** @type {any} */ voice) => voice.default)?.id;
  return usual ? [usual, ...found.voices.filter((voice) => voice !== usual)] : found.voices;
}

async function start() {
  /** @type {Model} */ const found = (await read("v1/models")).data[0];
  found.voices = await voicesOf(found);
  model = found;
  if (!found.output_modalities.includes("audio")) settings.set({ speaks: false });
  byId("model", HTMLElement).textContent = found.id;
  byId("welcome-model", HTMLElement).textContent = found.id;
  byId("live-button", HTMLButtonElement).disabled = false;
  new SettingsPanel(settings, found);
  Object.assign(shown, { compare: new ComparePanel(settings, found) });
  load.show(true);
  composer.say("");
  document.body.dataset.state = "ready";
}

// For the console, and for the tests.
const shown = { conversation, live, settings, log, cost };
Object.assign(window, { antiphon: shown });

/** Until the server answers: it may be starting, and the user may have closed the question for the key. */
async function begin() {
  try {
    await start();
  } catch (error) {
    composer.say(error instanceof Error ? error.message : String(error));
    const needsKey = error instanceof ServerError && error.status === 401;
    if (needsKey) byId("message", HTMLTextAreaElement).addEventListener("focus", begin, { once: true });
    else setTimeout(begin, 2_000);
  }
}

begin();
