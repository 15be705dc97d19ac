// @ts-check
/** A request as a program: curl, Python, JavaScript, and the command that measures such requests. */

/** @typedef {{ body: any, path: string, origin: string, needsKey: boolean, mark: string }} Call `mark`: around the number of a file; nothing else of the body has it */
/** @typedef {{ name: string, url: string, prefix: string }} MediaFile `prefix`: of its URL, before the base64 */

const CHAT = "v1/chat/completions";

/** The call, with its media as files: base64 of a picture is no reading matter. @param {any} request @param {string} kind @param {string} origin @param {boolean} needsKey */
export function callOf(request, kind, origin, needsKey) {
  /** @type {MediaFile[]} */ const files = [];
  const text = JSON.stringify(request);
  let mark = "@@";
  while (text.includes(mark)) mark += "@";
  const swap = (/** @type {string} */ url, /** @type {string} */ name, prefix = url.slice(0, url.indexOf(",") + 1)) => {
    if (!url.startsWith("data:")) return url;
    files.push({ name: `${files.length + 1}-${name}`, url, prefix });
    return `${mark}${files.length - 1}${mark}`;
  };
  const body = structuredClone(request);
  for (const message of body.messages ?? []) {
    for (const part of Array.isArray(message.content) ? message.content : []) {
      if (part.image_url) part.image_url.url = swap(part.image_url.url, "picture.png");
      if (part.video_url) part.video_url.url = swap(part.video_url.url, "clip.mp4");
      if (part.input_audio) {
        const { data, format } = part.input_audio;
        // A trace may have any text for a format.
        const name = `recording.${String(format).replace(/\W/g, "")}`;
        part.input_audio.data = swap(`data:audio/${format};base64,${data}`, name, "");
      }
    }
  }
  return { call: { body, path: kind === "speech" ? "v1/audio/speech" : CHAT, origin, needsKey, mark }, files };
}

/** @param {string} text @param {string} mark @param {MediaFile[]} files @param {(file: MediaFile) => string} write */
function withFiles(text, mark, files, write) {
  return text.replace(new RegExp(`"${mark}(\\d+)${mark}"`, "g"), (found, index) => {
    const file = files[Number(index)];
    return file ? write(file) : found;
  });
}

/** @param {Call} call @param {MediaFile[]} files */
export function curl({ body, path, origin, needsKey, mark }, files) {
  const key = needsKey ? ' \\\n  -H "Authorization: Bearer $ANTIPHON_API_KEY"' : "";
  const json = JSON.stringify(body, null, 2);
  // Only commands of ours are in what the shell reads: they come in after the text of the request is escaped.
  const commands = withFiles(escaped(json), mark, files, ({ name, prefix }) => {
    return `"${escaped(JSON.stringify(prefix).slice(1, -1))}$(base64 -w0 ${name})"`;
  });
  const text = files.length ? `@- <<END\n${commands}\nEND` : `@- <<'END'\n${json}\nEND`;
  return `curl -sN ${quoted(origin + path)}${key} \\\n  -H 'Content-Type: application/json' -d ${text}`;
}

/** @param {string} text for a here-document in which the shell expands */
function escaped(text) {
  return text.replace(/[$`\\]/g, "\\$&");
}

/** @param {string} text as one word of the shell */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {Call} call @param {MediaFile[]} files */
export function python({ body, path, origin, needsKey, mark }, files) {
  const literal = withFiles(pythonOf(body, 0), mark, files, expression);
  const encoded = files.length ? '\n\ndef encoded(path):\n    return base64.b64encode(open(path, "rb").read()).decode()\n\n' : "\n";
  const key = needsKey ? 'os.environ["ANTIPHON_API_KEY"]' : '"none"';
  const imports = ["import base64", ...(needsKey ? ["import os"] : []), "", "from openai import OpenAI"].join("\n");
  const head = `${imports}\n${encoded}client = OpenAI(base_url=${JSON.stringify(`${origin}v1`)}, api_key=${key})\nrequest = ${literal}`;
  if (path !== CHAT) {
    return `${head}\nrequest |= {"stream_format": "audio"}\nextra = {"timestamp_granularities": request.pop("timestamp_granularities")}\nextra |= {name: request.pop(name) for name in ("seed", "temperature") if name in request}\nwith client.audio.speech.with_streaming_response.create(**request, extra_body=extra) as answer:\n    answer.stream_to_file("answer.pcm")  # 24 kHz, 16 bits, mono\n`;
  }
  return `${head}\nextra = {name: request.pop(name) for name in list(request) if name.startswith("talker_")}\nwith open("answer.pcm", "wb") as speech:  # 24 kHz, 16 bits, mono\n    for chunk in client.chat.completions.create(**request, extra_body=extra):\n        for choice in chunk.choices:\n            delta = choice.delta.model_dump()\n            audio = delta.get("audio") or {}\n            print(audio.get("transcript") or delta.get("content") or "", end="", flush=True)\n            speech.write(base64.b64decode(audio.get("data") or ""))\nprint()\n`;
}

/** @param {Call} call @param {MediaFile[]} files */
export function javascript({ body, path, origin, needsKey, mark }, files) {
  const literal = withFiles(JSON.stringify(body, null, 2), mark, files, expression);
  const encoded = files.length ? 'import { readFileSync } from "node:fs";\n\nconst encoded = (path) => readFileSync(path).toString("base64");\n' : "";
  const key = needsKey ? "\n    authorization: `Bearer ${process.env.ANTIPHON_API_KEY}`," : "";
  return `${encoded}const request = ${literal};
const response = await fetch(${JSON.stringify(origin + path)}, {
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

/** In Python and in JavaScript. @param {MediaFile} file */
function expression({ name, prefix }) {
  const read = `encoded(${JSON.stringify(name)})`;
  return prefix ? `${JSON.stringify(prefix)} + ${read}` : read;
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
  const word = (/** @type {string} */ text) => (/^[\w.:/-]+$/.test(text) ? text : quoted(String(text)));
  const parts = [`antiphon bench ${word(origin.replace(/\/$/, ""))}`, "--concurrency 1,2,4 --requests 12", `--model ${word(body.model)}`];
  if (media.length) parts.push(`--input ${media.join(",")}`);
  if (body.audio?.voice ?? body.voice) parts.push(`--voice ${word(body.audio?.voice ?? body.voice)}`);
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
  const fields = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${pythonOf(one, depth + 1)},`);
  return `{\n${fields.join("\n")}${end}}`;
}
