// @ts-check
/** Conversations that were kept in this browser (IndexedDB). They never leave it unless they are exported. */

import { Run } from "./run.js";

/** @typedef {import("./types").Conversation} Conversation */
/** @typedef {import("./conversation.js").Turn} Turn */

const NAME = "antiphon";
const STORE = "conversations";

/** @returns {Promise<IDBDatabase>} */
function open() {
  const asked = indexedDB.open(NAME, 1);
  asked.onupgradeneeded = () => asked.result.createObjectStore(STORE, { keyPath: "id" });
  return done(asked);
}

/** @template T @param {IDBRequest<T>} asked @returns {Promise<T>} */
function done(asked) {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

/** @template T @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} ask */
async function within(mode, ask) {
  const database = await open();
  try {
    return await done(ask(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** @param {string} id @param {Turn[]} turns @returns {Conversation} */
export function stored(id, turns) {
  const kept = turns.map(({ run, ...turn }) => (run ? { ...turn, run: run.store() } : turn));
  const title = turns.map((turn) => turn.text).find((text) => text) ?? "Spoken";
  return { id, title: title.slice(0, 80), changedAt: Date.now(), turns: kept };
}

/** @param {Conversation} conversation @returns {Turn[]} */
export function turnsOf(conversation) {
  return conversation.turns.map(({ run, ...turn }) => (run ? { ...turn, run: Run.of(run) } : turn));
}

/** @param {Conversation} conversation */
export async function keep(conversation) {
  await within("readwrite", (store) => store.put(conversation));
}

/** @returns {Promise<Conversation[]>} the last one first */
export async function list() {
  /** @type {Conversation[]} */
  const found = await within("readonly", (store) => store.getAll());
  return found.sort((one, other) => other.changedAt - one.changedAt);
}

/** @param {string} id */
export async function forget(id) {
  await within("readwrite", (store) => store.delete(id));
}
