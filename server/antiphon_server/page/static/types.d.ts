// Types that several modules share. The browser never loads this file.

export interface Word { word: string; start: number; end: number }

export interface Attachment { kind: "image" | "audio" | "video"; name: string; url: string; bytes: number }

export interface LogEntry {
  /** Milliseconds since the page was opened. */
  at: number;
  direction: "sent" | "received" | "page";
  kind: string;
  bytes: number;
  detail: unknown;
}

export interface Slack { at: number; buffered: number }

export interface Report {
  /** Samples played since the start, by track: they are equal. */
  position: number;
  /** Samples that are held and not played, by track. */
  buffered: number[];
  underruns: number;
  state: "waiting" | "playing" | "ended";
  /** Seconds of the audio clock at which the first sample was played; 0 before. */
  startedAt: number;
}

export interface Settings {
  voice: string;
  speaks: boolean;
  system: string;
  temperature: number | null;
  top_p: number | null;
  max_tokens: number | null;
  seed: number | null;
  talker_temperature: number | null;
  talker_top_k: number | null;
  talker_seed: number | null;
  dialect: "" | "openai" | "dashscope" | "union";
  turns: "server_vad" | "semantic_vad";
  interrupts: boolean;
  transcribes: boolean;
}

export interface Model {
  id: string;
  max_model_len: number;
  input_modalities: string[];
  output_modalities: string[];
  voices: string[];
}

export interface Turn {
  id: string;
  role: "user" | "assistant";
  text: string;
  attachments: Attachment[];
  /** The record of an assistant's answer, by the run's id. */
  run?: StoredRun;
}

/** A run as it is kept, exported and replayed. */
export interface StoredRun {
  id: string;
  kind: "chat" | "speech" | "realtime";
  request: any;
  dialect: string;
  model: string;
  sentAt: string;
  events: { at: number; data: string }[];
  marks: Record<string, number>;
  timing: Record<string, number> | null;
  usage: any;
  text: string;
  heard: string | null;
  words: Word[];
  pcm: ArrayBuffer;
  underruns: number;
  error: string | null;
}

export interface Conversation { id: string; title: string; changedAt: number; turns: Turn[] }
