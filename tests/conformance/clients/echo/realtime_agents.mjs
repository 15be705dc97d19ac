// Talks to /v1/realtime with @openai/agents-realtime and a tool, and prints what came as one JSON object.
// Arguments: the server's base URL, and the folder that holds node_modules.
import { createRequire } from "node:module";
import { join } from "node:path";

const [url, home] = process.argv.slice(2);
const require = createRequire(join(home, "index.js"));
const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebSocket, tool } = require("@openai/agents-realtime");
const { z } = require("zod");

const calls = [];
const errors = [];
let bytes = 0;
const add = tool({
  name: "add",
  description: "Add two numbers",
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => {
    calls.push([a, b]);
    return String(a + b);
  },
});
const agent = new RealtimeAgent({ name: "echo", instructions: "Repeat.", tools: [add] });
const socket = `${url.replace("http", "ws")}/v1/realtime`;
const transport = new OpenAIRealtimeWebSocket({ url: socket, useInsecureApiKey: true });
const session = new RealtimeSession(agent, { transport, model: "echo" });
session.on("error", (error) => errors.push(error));
session.on("audio", (event) => (bytes += event.data.byteLength));

/** The next response that is done. */
const done = () =>
  new Promise((resolve) => {
    const watch = (event) => {
      if (event.type !== "response.done") return;
      session.off("transport_event", watch);
      resolve(event.response);
    };
    session.on("transport_event", watch);
  });
const transcripts = (response) => response.output.map((item) => item.content?.[0]?.transcript ?? item.name);

await session.connect({ apiKey: "none" });
let next = done();
session.sendMessage("good morning");
const spoken = transcripts(await next);
next = done();
session.sendMessage("call it");
const called = transcripts(await next);
const after = transcripts(await done());
console.log(JSON.stringify({ spoken, called, after, calls, errors, bytes }));
session.close();
process.exit(0);
