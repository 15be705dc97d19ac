// As harness.py, for Node: each script runs as `SCRIPT URL FOLDER` with the package's folder in NODE_HOME.
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [url, folder] = process.argv.slice(2);
const home = process.env.NODE_HOME;
const require = createRequire(join(home, "index.js"));

export { assert };
export const BASE = `${url}/v1`;
export const MODEL = "antiphon-nano";
export const [QUESTION, ANSWER] = ["What is seven plus five?", "Seven plus five is twelve."];
export const SENTENCE = "I see a red circle.";
export const SENTENCE_WAV = join(folder, "sentence.wav");
export const SWITCH = {
  type: "object",
  properties: { on: { type: "boolean" } },
  required: ["on"],
  additionalProperties: false,
};
export const TOOL = { type: "function", function: { name: "switch", parameters: SWITCH } };

export const load = (name) => import(pathToFileURL(require.resolve(name)).href);

export const switched = (text) => assert.equal(typeof JSON.parse(text).on, "boolean");

// As long as SENTENCE takes, within a fifth, and not silent.
export function spoken(sound) {
  const decoded = (input) => {
    const format = ["-f", "s16le", "-ac", "1", "-ar", "24000", "-"];
    return spawnSync("ffmpeg", ["-v", "error", "-i", "-", ...format], { input, maxBuffer: 1 << 26 }).stdout;
  };
  const [length, expected] = [decoded(sound), decoded(readFileSync(SENTENCE_WAV))].map((one) => one.length);
  assert.ok(decoded(sound).some((byte) => byte !== 0));
  assert.ok(Math.abs(length - expected) < 0.2 * expected, `${length} ${expected}`);
}

export async function report(name, cases) {
  const { version } = JSON.parse(readFileSync(join(home, "node_modules", name, "package.json"), "utf8"));
  const found = {};
  for (const one of cases) {
    try {
      await one();
      found[one.name] = null;
    } catch (error) {
      found[one.name] = String(error.stack ?? error).slice(0, 3000);
    }
  }
  console.log(JSON.stringify({ version, cases: found }));
  process.exit(0);
}
