// Runs scripts of the page in Node, and prints what they make as JSON. Argument: the folder of the scripts.
import { pathToFileURL } from "node:url";

const load = (name) => import(pathToFileURL(`${process.argv[2]}/${name}`));
globalThis.document = { baseURI: "http://localhost/", documentElement: { dataset: {} } };
globalThis.sessionStorage = { getItem: () => null };
globalThis.sampleRate = 48_000;
globalThis.currentTime = 1;
globalThis.AudioWorkletProcessor = class {
  reports = [];
  port = { postMessage: (message) => this.reports.push(message) };
};
const processors = {};
globalThis.registerProcessor = (name, kind) => (processors[name] = kind);

const { bench, callOf, curl, javascript, python } = await load("codegen.js");
const { chatBody, DEFAULTS } = await load("request.js");
const { spansOf } = await load("spans.js");
const { Store } = await load("store.js");
const trace = await load("trace.js");
const { Live } = await load("live.js");
const { events } = await load("net/sse.js");
const { parse } = await load("net/metrics.js");
const { spectrum, SIZE } = await load("draw/fft.js");
await load("audio/player.worklet.js");
await load("audio/recorder.worklet.js");

const attachments = [
  { kind: "image", url: "data:image/png;base64,AAAA", name: "a.png" },
  { kind: "audio", url: "data:audio/wav;base64,BBBB", name: "q.wav" },
];
// With a picture the shell expands what it reads: words of a model, or of a user, may look like our own commands.
const awkward = 'It\'s $HOME `ls` "x" \\ \u{1f600}\nline $(base64 -w0 x; touch ran)';
const settings = { ...DEFAULTS, voice: "heart", seed: 3, system: "@@0@@" };
const body = chatBody(settings, "nano", [{ role: "user", text: awkward, attachments }]);
const { call, files } = callOf(body, "chat", "http://127.0.0.1:9/", true);

function ofStrangeTrace() {
  const input_audio = { data: "BBBB", format: "wav $(touch ran)" };
  const image_url = { url: 'data:";$(touch ran);,AAAA' };
  const content = [{ type: "input_audio", input_audio }, { type: "image_url", image_url }];
  const body = { model: "a; touch ran", messages: [{ role: "user", content }], 'x": exit(1), "y': "$(touch ran)" };
  const { call, files } = callOf(body, "chat", "http://127.0.0.1:9/", false);
  const names = files.map(({ name }) => name);
  return { body, names, curl: curl(call, files), python: python(call, files), javascript: javascript(call, files), bench: bench(call) };
}

async function sse() {
  const bytes = new TextEncoder().encode('data: {"a":"ü"}\n\n: keep-alive\n\ndata: [DONE]\n\n');
  const pieces = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const data of events(pieces)) found.push(data);
  return found;
}

function played() {
  const player = new processors.player({ processorOptions: { tracks: 2, startSamples: 256 } });
  const push = (track, count) => player.take({ kind: "push", track, samples: new Float32Array(count).fill(0.5) });
  const step = () => player.process([], [[new Float32Array(128)], [new Float32Array(128)]]);
  push(0, 100_000);
  push(1, 300);
  for (let block = 0; block < 4; block++) step();
  const starved = { position: player.position, underruns: player.underruns, state: player.state };
  push(1, 1_000);
  for (const track of [0, 1]) player.take({ kind: "complete", track });
  while (step());
  return { starved, position: player.position, state: player.state };
}

function recorded() {
  const recorder = new processors.recorder();
  for (let block = 0; block < 375; block++) recorder.process([[new Float32Array(128).fill(0.25)]]);
  return { pieces: recorder.reports.length, sample: recorder.reports[5][0] };
}

function loudest() {
  const samples = Int16Array.from({ length: SIZE }, (_, at) => 16_000 * Math.sin((2 * Math.PI * 32 * at) / SIZE));
  const decibels = new Float32Array(SIZE / 2);
  spectrum(samples, 0, decibels);
  return decibels.indexOf(Math.max(...decibels));
}

/** What the page says of files that are no traces. The last one is a trace. */
function opened() {
  const run = { id: "b", kind: "chat", request: {}, text: "Hi.", pcm: "AAAA", words: [], events: [], marks: { end: 1 }, heard: null };
  const picture = { kind: "image", name: "a.png", url: "data:image/png;base64,AAAA", bytes: 3 };
  const question = { id: "a", role: "user", text: "", attachments: [picture] };
  const answer = { id: "b", role: "assistant", text: "", attachments: [], run };
  const strange = [
    [null],
    [{}],
    [{ ...question, text: 5 }],
    [{ ...question, attachments: [null] }],
    [{ ...question, attachments: [{ ...picture, url: "/v1/models" }] }],
    [question, question],
    ...[{ words: [null] }, { request: null }, { text: undefined }, { pcm: "?" }, { marks: { end: "1" } }, { events: [1] }].map(
      (part) => [question, { ...answer, run: { ...run, ...part } }],
    ),
  ];
  const files = [...strange, [question, answer]].map((turns) => JSON.stringify({ format: "antiphon-trace", version: 1, turns }));
  return ["{", "[]", ...files].map((file) => {
    try {
      trace.parse(file);
      return "";
    } catch (error) {
      return error.message;
    }
  });
}

function stages(more) {
  const timing = { body_read_ms: 1, planned_ms: 2, admitted_ms: 3, rendered_ms: 10, thinker_scheduled_ms: 320, ...more };
  const spans = spansOf({ timing, marks: {}, words: [], isOver: true, now: 0 });
  return Object.fromEntries(spans.map(({ name, from, to }) => [name, to - from]));
}

/** A user ends hands-free talk while the browser still asks for the microphone, and then allows it. */
async function closedWhileItAsked() {
  let stopped = 0;
  let allow = null;
  const getUserMedia = () => new Promise((resolve) => (allow = resolve));
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { mediaDevices: { getUserMedia } } });
  globalThis.AudioContext = class {
    audioWorklet = { addModule: async () => {} };
    createMediaStreamSource = () => ({ connect: () => {} });
    close() {}
  };
  globalThis.AudioWorkletNode = class {
    port = {};
  };
  globalThis.WebSocket = class {
    static OPEN = 1;
    readyState = 0;
    constructor() {
      setTimeout(() => {
        this.readyState = 1;
        this.onmessage({ data: '{"type":"session.created"}' });
      });
    }
    send() {}
    close() {
      this.readyState = 3;
    }
  };
  const live = new Live({ interrupt: () => {}, turns: [] }, new Store({ ...DEFAULTS }), () => "nano", () => {});
  const opening = live.open();
  while (!allow) await new Promise((resolve) => setTimeout(resolve, 1));
  live.close();
  allow({ getTracks: () => [{ stop: () => stopped++ }] });
  await opening;
  return { phase: live.store.value.phase, stopped };
}

const of = parse('a_total{stage="x",state="used"} 3\na_total{stage="y",state="used"} 4\n# HELP a\nb 1.5\n');
const metrics = [of("a_total"), of("a_total", { stage: "y" }), of("b"), of("c")];
const code = { curl: curl(call, files), python: python(call, files), javascript: javascript(call, files), bench: bench(call) };
const waits = [stages({ media_ready_ms: 110, started_ms: 310 }), stages({ started_ms: 310 }), stages({ started_ms: 20, media_ready_ms: 110 })];
const made = { body, code, sse: await sse(), played: played(), recorded: recorded(), loudest: loudest(), metrics, waits };
console.log(JSON.stringify({ ...made, opened: opened(), trace: ofStrangeTrace(), closed: await closedWhileItAsked() }));
