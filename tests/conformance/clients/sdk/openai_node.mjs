// The Node package `openai`: chat, speech, transcripts, responses.
import { readFileSync } from "node:fs";
import { ANSWER, BASE, MODEL, QUESTION, SENTENCE, SENTENCE_WAV, TOOL } from "../harness.mjs";
import { assert, load, report, spoken, switched } from "../harness.mjs";

const { default: OpenAI, toFile } = await load("openai");
const client = new OpenAI({ baseURL: BASE, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: QUESTION }];

async function chat_stream() {
  let [text, usage] = ["", null];
  const options = { model: MODEL, messages, stream: true, stream_options: { include_usage: true } };
  for await (const chunk of await client.chat.completions.create(options)) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, ANSWER);
  assert.ok(usage.completion_tokens > 2);
}

async function tool_call() {
  const options = { model: MODEL, messages, tools: [TOOL], tool_choice: "required" };
  const answer = await client.chat.completions.stream(options).finalChatCompletion();
  switched(answer.choices[0].message.tool_calls[0].function.arguments);
}

async function speech() {
  const answer = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: SENTENCE });
  spoken(Buffer.from(await answer.arrayBuffer()));
}

async function transcript() {
  const file = async () => toFile(readFileSync(SENTENCE_WAV), "sentence.wav");
  const whole = await client.audio.transcriptions.create({ model: "whisper-1", file: await file() });
  assert.equal(whole.text, SENTENCE);
  let text = "";
  const options = { model: "gpt-4o-transcribe", file: await file(), stream: true };
  for await (const event of await client.audio.transcriptions.create(options)) text += event.delta ?? "";
  assert.equal(text, SENTENCE);
}

async function responses() {
  const answer = await client.responses.create({ model: MODEL, input: QUESTION });
  assert.equal(answer.output_text, ANSWER);
  const stream = client.responses.stream({ model: MODEL, input: QUESTION });
  let text = "";
  stream.on("response.output_text.delta", (event) => (text += event.delta));
  await stream.finalResponse();
  assert.equal(text, ANSWER);
}

await report("openai", [chat_stream, tool_call, speech, transcript, responses]);
