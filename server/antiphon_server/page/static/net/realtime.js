// @ts-check
/** A spoken conversation over `/v1/realtime`: the connection, and the events in both directions. */

import { toBase64 } from "../audio/pcm.js";
import { address, key, request } from "./server.js";

/** @typedef {import("../types").Settings} Settings */

export class RealtimeConnection {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {(event: any) => void} */ onEvent = () => {};
  /** @type {(reason: string) => void} */ onClose = () => {};
  /** @type {(event: any, bytes: number) => void} */ onSend = () => {};

  /** Returns when the session has begun. @param {string} model @param {any} session */
  async open(model, session) {
    const protocols = ["realtime"];
    if (key.value || key.needed) protocols.push(`openai-insecure-api-key.${await clientSecret()}`);
    const url = new URL(address("v1/realtime"));
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("model", model);
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    // The server speaks first: session.created.
    await new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => {
        this.onEvent(JSON.parse(data));
        resolve(null);
      };
      socket.onclose = () => reject(new Error("The realtime connection was refused."));
    });
    socket.onclose = ({ reason }) => this.onClose(reason);
    this.send({ type: "session.update", session });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** @param {any} event */
  send(event) {
    if (!this.isOpen) return;
    const text = JSON.stringify(event);
    this.#socket?.send(text);
    this.onSend(event, text.length);
  }

  /** @param {Int16Array} samples at 24 kHz */
  append(samples) {
    if (this.isOpen) this.#socket?.send(`{"type":"input_audio_buffer.append","audio":"${toBase64(samples)}"}`);
  }

  close() {
    if (this.#socket) this.#socket.onclose = null;
    this.#socket?.close(1000);
    this.#socket = null;
  }
}

/** A key for one connection: WebSockets have no headers, and the user's own key does not belong in a protocol. */
async function clientSecret() {
  const init = { method: "POST", body: "{}", headers: { "content-type": "application/json" } };
  return (await (await request("v1/realtime/client_secrets", init)).json()).value;
}

/** @param {Settings} settings @returns {any} the session that they ask for */
export function sessionOf(settings) {
  const { voice, turns, interrupts, system, speaks, max_tokens, transcribes } = settings;
  return {
    type: "realtime",
    instructions: system,
    output_modalities: [speaks ? "audio" : "text"],
    max_output_tokens: max_tokens ? Math.min(max_tokens, 4_096) : "inf",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24_000 },
        turn_detection: { type: turns, create_response: true, interrupt_response: interrupts },
        transcription: transcribes ? { model: "gpt-4o-mini-transcribe" } : null,
      },
      output: voice ? { voice } : {},
    },
  };
}
