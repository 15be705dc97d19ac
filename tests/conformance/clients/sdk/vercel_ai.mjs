// Vercel's AI SDK: `openai()`, which is the responses route, chat, objects, tools, speech, transcripts.
import { readFileSync } from "node:fs";
import { ANSWER, BASE, MODEL, QUESTION, SENTENCE, SENTENCE_WAV, SWITCH } from "../harness.mjs";
import { assert, load, report, spoken } from "../harness.mjs";

const ai = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const openai = createOpenAI({ baseURL: BASE, apiKey: "none" });
const generateSpeech = ai.generateSpeech ?? ai.experimental_generateSpeech;
const transcribe = ai.transcribe ?? ai.experimental_transcribe;
const asked = { prompt: QUESTION, maxRetries: 0 };

async function streamed(model) {
  const result = ai.streamText({ model, ...asked, onError: ({ error }) => { throw error; } });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  assert.equal(pieces.join(""), ANSWER);
  assert.ok((await result.usage).outputTokens > 2);
}

const default_stream = () => streamed(openai(MODEL));
const chat_stream = () => streamed(openai.chat(MODEL));

async function tool_call() {
  for (const model of [openai(MODEL), openai.chat(MODEL)]) {
    const lamp = ai.tool({ inputSchema: ai.jsonSchema(SWITCH), execute: async ({ on }) => `on: ${on}` });
    const result = await ai.generateText({ model, ...asked, tools: { lamp }, toolChoice: "required" });
    assert.ok([true, false].includes(result.toolCalls[0].input.on));
    assert.ok(result.toolResults[0].output.startsWith("on: "));
  }
}

async function object() {
  const output = ai.Output.object({ schema: ai.jsonSchema(SWITCH) });
  const result = await ai.generateText({ model: openai(MODEL), ...asked, output });
  assert.ok([true, false].includes(result.output.on));
}

async function speech() {
  const { audio } = await generateSpeech({ model: openai.speech("tts-1"), text: SENTENCE, maxRetries: 0 });
  spoken(Buffer.from(audio.uint8Array));
}

async function transcript() {
  const audio = readFileSync(SENTENCE_WAV);
  const result = await transcribe({ model: openai.transcription("whisper-1"), audio, maxRetries: 0 });
  assert.equal(result.text, SENTENCE);
}

await report("ai", [default_stream, chat_stream, tool_call, object, speech, transcript]);
