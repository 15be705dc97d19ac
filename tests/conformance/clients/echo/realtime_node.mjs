// Talks to /v1/realtime with the Node package `openai`, which connects over wss only, and prints what came.
// Arguments: the server's https base URL, and the folder that holds node_modules.
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, home] = process.argv.slice(2);
const require = createRequire(join(home, "index.js"));
const { default: OpenAI } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const realtime = new OpenAIRealtimeWS({ model: "echo" }, client);
let transcript = "";
let pcm = "";
realtime.socket.on("open", () => {
  const session = { type: "realtime", audio: { input: { turn_detection: null } } };
  const content = [{ type: "input_text", text: "good morning" }];
  realtime.send({ type: "session.update", session });
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  realtime.send({ type: "response.create" });
});
realtime.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});
realtime.on("response.output_audio_transcript.delta", (event) => (transcript += event.delta));
realtime.on("response.output_audio.delta", (event) => (pcm += event.delta));
realtime.on("response.done", ({ response }) => {
  console.log(JSON.stringify({ status: response.status, transcript, bytes: Buffer.from(pcm, "base64").length }));
  realtime.close();
});
realtime.socket.on("close", () => process.exit(0));
