// Talks to a server with the Node package `openai` and prints what it got as one JSON object.
// Arguments: the server's base URL, and the folder that holds node_modules.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, home] = process.argv.slice(2);
const require = createRequire(join(home, "index.js"));
const { default: OpenAI, APIError, toFile } = require("openai");
const { version } = JSON.parse(readFileSync(join(home, "node_modules/openai/package.json"), "utf8"));

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const completions = client.chat.completions;
const said = (content) => [{ role: "user", content }];
const spoken = { modalities: ["text", "audio"], audio: { voice: "ethan", format: "pcm16" } };
const tools = [{ type: "function", function: { name: "add", parameters: { type: "object" } } }];
const call = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>';
const repack = (data) => Buffer.from(data, "base64").toString("base64");

async function streamedText() {
  let text = "";
  let usage = null;
  const options = { model: "echo", messages: said("hello"), stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await completions.create(options)) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage };
}

async function whole() {
  const answer = await completions.create({ model: "echo", messages: said("good morning"), ...spoken });
  const { transcript, data } = answer.choices[0].message.audio;
  return { id: answer.id, transcript, pcm: data };
}

async function streamed() {
  let [id, transcript, data] = ["", "", ""];
  const options = { model: "echo", messages: said("good evening"), stream: true, ...spoken };
  for await (const chunk of await completions.create(options)) {
    id = chunk.id;
    transcript += chunk.choices[0].delta.audio?.transcript ?? "";
    data += chunk.choices[0].delta.audio?.data ?? "";
  }
  return { id, transcript, pcm: repack(data) };
}

// The SDK's own accumulation: it concatenates base64, and leaves decoding it once to its users.
async function helper() {
  const answer = await completions.stream({ model: "echo", messages: said("good night"), ...spoken }).finalChatCompletion();
  const { transcript, data } = answer.choices[0].message.audio;
  return { id: answer.id, transcript, pcm: repack(data) };
}

async function tool() {
  const stream = completions.stream({ model: "echo", messages: said(call), tools });
  const choice = (await stream.finalChatCompletion()).choices[0];
  const { name, arguments: given } = choice.message.tool_calls[0].function;
  return { name, arguments: given, reason: choice.finish_reason };
}

async function refused() {
  try {
    const audio = { voice: "?", format: "wav" };
    await completions.create({ model: "echo", messages: said("x"), modalities: ["text", "audio"], audio });
  } catch (error) {
    return { status: error.status, param: error.param, has_id: Boolean(error.requestID) };
  }
  return {};
}

async function fault() {
  try {
    const stream = await completions.create({ model: "echo", messages: said("please fail"), stream: true });
    for await (const _ of stream);
  } catch (error) {
    return error instanceof APIError ? error.code : String(error);
  }
  return "nothing was raised";
}

const read = { model: "tts-1", voice: "alloy", input: "read me", response_format: "pcm" };

async function speech() {
  const whole = await client.audio.speech.create(read);
  const kind = whole.headers.get("content-type");
  const pieces = [];
  for await (const piece of (await client.audio.speech.create(read)).body) pieces.push(piece);
  const mp3 = await client.audio.speech.create({ model: "tts-1", voice: "ash", input: "read me" });
  return {
    pcm: [Buffer.from(await whole.arrayBuffer()), Buffer.concat(pieces)].map((one) => one.toString("base64")),
    kind,
    mp3: (await mp3.arrayBuffer()).byteLength,
  };
}

async function brokenSpeech() {
  try {
    await (await client.audio.speech.create({ ...read, input: "please fail" })).arrayBuffer();
  } catch (error) {
    return `Error: ${error}`;
  }
  return "nothing was raised";
}

async function transcript() {
  const ask = async (fields) =>
    client.audio.transcriptions.create({
      model: "whisper-1",
      file: await toFile(Buffer.from("RIFF"), "silence.wav"),
      ...fields,
    });
  const stream = [];
  for await (const event of await ask({ stream: true })) stream.push(event.type);
  return {
    json: (await ask({})).text,
    text: await ask({ response_format: "text" }),
    srt: await ask({ response_format: "srt" }),
    duration: (await ask({ response_format: "verbose_json", timestamp_granularities: ["segment"] })).duration,
    stream,
  };
}

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const text = (await completions.create({ model: "echo", messages: said("hello world") })).choices[0].message.content;
console.log(
  JSON.stringify({
    version,
    models,
    text,
    streamed_text: await streamedText(),
    spoken: await whole(),
    streamed: await streamed(),
    helper: await helper(),
    tool: await tool(),
    refused: await refused(),
    fault: await fault(),
    speech: await speech(),
    broken_speech: await brokenSpeech(),
    transcript: await transcript(),
  }),
);
