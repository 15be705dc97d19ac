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
const { events } = await load("net/sse.js");
const { parse } = await load("net/metrics.js");
const { spectrum, SIZE } = await load("draw/fft.js");
await load("audio/player.worklet.js");
await load("audio/recorder.worklet.js");

const attachments = [
  { kind: "image", url: "data:image/png;base64,AAAA", name: "a.png" },
  { kind: "audio", url: "data:audio/wav;base64,BBBB", name: "q.wav" },
];
const awkward = 'It\'s $HOME `ls` "x" \\ \u{1f600}\nline';
const body = chatBody({ ...DEFAULTS, voice: "heart", seed: 3 }, "nano", [{ role: "user", text: awkward, attachments }]);
const { call, files } = callOf(body, "chat", "http://127.0.0.1:9/", true);

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

const of = parse('a_total{stage="x",state="used"} 3\na_total{stage="y",state="used"} 4\n# HELP a\nb 1.5\n');
const metrics = [of("a_total"), of("a_total", { stage: "y" }), of("b"), of("c")];
const code = { curl: curl(call, files), python: python(call, files), javascript: javascript(call, files), bench: bench(call) };
console.log(JSON.stringify({ body, code, sse: await sse(), played: played(), recorded: recorded(), loudest: loudest(), metrics }));
