// @ts-check
/** A request as a program: curl, Python, JavaScript, and the command that measures such requests. */

/** @typedef {{ body: any, path: string, origin: string, needsKey: boolean }} Call */
/** @typedef {{ name: string, url: string }} MediaFile */

const CHAT = "v1/chat/completions";

/** The call, with its media as files: base64 of a picture is no reading matter. @param {any} request @param {string} kind @param {string} origin @param {boolean} needsKey */
export function callOf(request, kind, origin, needsKey) {
  /** @type {MediaFile[]} */ const files = [];
  const swap = (/** @type {string} */ url, /** @type {string} */ name) => {
    files.push({ name: `${files.length + 1}-${name}`, url });
    return `@@${files.length - 1}@@`;
  };
  const body = structuredClone(request);
  for (const message of body.messages ?? []) {
    for (const part of Array.isArray(message.content) ? message.content : []) {
      if (part.image_url) part.image_url.url = swap(part.image_url.url, "picture.png");
      if (part.video_url) part.video_url.url = swap(part.video_url.url, "clip.mp4");
      if (part.input_audio) {
        const { data, format } = part.input_audio;
        part.input_audio.data = swap(`data:audio/${format};base64,${data}`, `recording.${format}`);
      }
    }
  }
  return { call: { body, path: kind === "speech" ? "v1/audio/speech" : CHAT, origin, needsKey }, files };
}

/** @param {string} text @param {MediaFile[]} files @param {(file: MediaFile, prefix: string) => string} write */
function withFiles(text, files, write) {
  return text.replace(/"@@(\d+)@@"/g, (_, index) => {
    const file = files[Number(index)] ?? { name: "", url: "" };
    const isRecording = file.url.startsWith("data:audio");
    return write(file, isRecording ? "" : file.url.slice(0, file.url.indexOf(",") + 1));
  });
}

/** @param {Call} call @param {MediaFile[]} files */
export function curl({ body, path, origin, needsKey }, files) {
  const key = needsKey ? ' \\\n  -H "Authorization: Bearer $ANTIPHON_API_KEY"' : "";
  const json = withFiles(JSON.stringify(body, null, 2), files, (file, prefix) => `"${prefix}$(base64 -w0 ${file.name})"`);
  const text = files.length ? `@- <<END\n${escaped(json)}\nEND` : `@- <<'END'\n${json}\nEND`;
  return `curl -sN ${origin}${path}${key} \\\n  -H 'Content-Type: application/json' -d ${text}`;
}

/** @param {string} json for a here-document that the shell reads; its commands are ours */
function escaped(json) {
  return json.replace(/\$\(base64[^)]*\)|[$`\\]/g, (found) => (found.length > 1 ? found : `\\${found}`));
}

/** @param {Call} call @param {MediaFile[]} files */
export function python({ body, path, origin, needsKey }, files) {
  const literal = withFiles(pythonOf(body, 0), files, (file, prefix) =>
    prefix ? `"${prefix}" + encoded("${file.name}")` : `encoded("${file.name}")`,
  );
  const encoded = files.length ? '\n\ndef encoded(path):\n    return base64.b64encode(open(path, "rb").read()).decode()\n\n' : "\n";
  const key = needsKey ? 'os.environ["ANTIPHON_API_KEY"]' : '"none"';
  const imports = ["import base64", ...(needsKey ? ["import os"] : []), "", "from openai import OpenAI"].join("\n");
  const head = `${imports}\n${encoded}client = OpenAI(base_url="${origin}v1", api_key=${key})\nrequest = ${literal}`;
  if (path !== CHAT) {
    return `${head}\nrequest |= {"stream_format": "audio"}\nextra = {"timestamp_granularities": request.pop("timestamp_granularities")}\nextra |= {name: request.pop(name) for name in ("seed", "temperature") if name in request}\nwith client.audio.speech.with_streaming_response.create(**request, extra_body=extra) as answer:\n    answer.stream_to_file("answer.pcm")  # 24 kHz, 16 bits, mono\n`;
  }
  return `${head}\nextra = {name: request.pop(name) for name in list(request) if name.startswith("talker_")}\nwith open("answer.pcm", "wb") as speech:  # 24 kHz, 16 bits, mono\n    for chunk in client.chat.completions.create(**request, extra_body=extra):\n        for choice in chunk.choices:\n            delta = choice.delta.model_dump()\n            audio = delta.get("audio") or {}\n            print(audio.get("transcript") or delta.get("content") or "", end="", flush=True)\n            speech.write(base64.b64decode(audio.get("data") or ""))\nprint()\n`;
}

/** @param {Call} call @param {MediaFile[]} files */
export function javascript({ body, path, origin, needsKey }, files) {
  const literal = withFiles(JSON.stringify(body, null, 2), files, (file, prefix) =>
    prefix ? `"${prefix}" + encoded("${file.name}")` : `encoded("${file.name}")`,
  );
  const encoded = files.length ? 'import { readFileSync } from "node:fs";\n\nconst encoded = (path) => readFileSync(path).toString("base64");\n' : "";
  const key = needsKey ? "\n    authorization: `Bearer ${process.env.ANTIPHON_API_KEY}`," : "";
  return `${encoded}const request = ${literal};
const response = await fetch("${origin}${path}", {
  method: "POST",
  headers: {
    "content-type": "application/json",${key}
  },
  body: JSON.stringify(request),
});
if (!response.ok) throw new Error(await response.text());
let rest = "";
for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
  const events = (rest + bytes).split("\\n\\n");
  rest = events.pop();
  for (const event of events.filter((one) => one.startsWith("data: {"))) {
    const delta = JSON.parse(event.slice(6)).choices?.[0]?.delta;
    process.stdout.write(delta?.audio?.transcript ?? delta?.content ?? "");
    // delta.audio.data is speech: base64 of samples, 24 kHz, 16 bits, mono.
  }
}
`;
}

/** @param {Call} call */
export function bench({ body, origin, needsKey }) {
  const kinds = new Set(["text"]);
  for (const message of body.messages ?? []) {
    for (const part of Array.isArray(message.content) ? message.content : []) {
      kinds.add({ image_url: "image", video_url: "video", input_audio: "audio" }[/** @type {string} */ (part.type)] ?? "text");
    }
  }
  const media = [...kinds].filter((kind) => kind !== "text");
  const parts = [`antiphon bench ${origin.replace(/\/$/, "")}`, "--concurrency 1,2,4 --requests 12", `--model ${body.model}`];
  if (media.length) parts.push(`--input ${media.join(",")}`);
  if (body.audio?.voice ?? body.voice) parts.push(`--voice ${body.audio?.voice ?? body.voice}`);
  if (!body.audio && !body.voice) parts.push("--answer text");
  return `${needsKey ? "ANTIPHON_API_KEY=… " : ""}${parts.join(" \\\n  ")}\n`;
}

/** @param {any} value @param {number} depth @returns {string} */
function pythonOf(value, depth) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = "    ".repeat(depth + 1);
  const end = `\n${"    ".repeat(depth)}`;
  if (Array.isArray(value)) {
    return value.length ? `[\n${value.map((one) => `${inner}${pythonOf(one, depth + 1)},`).join("\n")}${end}]` : "[]";
  }
  const fields = Object.entries(value).map(([name, one]) => `${inner}"${name}": ${pythonOf(one, depth + 1)},`);
  return `{\n${fields.join("\n")}${end}}`;
}
