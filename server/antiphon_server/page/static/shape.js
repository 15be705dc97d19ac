// @ts-check
/** The shape of a trace: whether each part that the page reads has its type. A file may come from anywhere. */

/** @param {any} value */
const isText = (value) => typeof value === "string";
/** @param {any} value */
const isNumber = (value) => typeof value === "number";
/** @param {any} value */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {any} value @param {(one: any) => boolean} is */
const isList = (value, is) => Array.isArray(value) && value.every(is);
/** @param {any} value @param {(one: any) => boolean} is */
const isNone = (value, is) => value === undefined || value === null || is(value);
/** @param {any} value */
const isNumbers = (value) => isObject(value) && Object.values(value).every((one) => isNone(one, isNumber));
/** @param {any} value */
const isWord = (value) => isObject(value) && isText(value.word) && isNone(value.start, isNumber) && isNone(value.end, isNumber);
/** @param {any} value */
const isEvent = (value) => isObject(value) && isNumber(value.at) && isText(value.data);

/** Media are in the file: one that names an address would be fetched. @param {any} value */
const isAttachment = (value) =>
  isObject(value) && ["image", "audio", "video"].includes(value.kind) && isText(value.name) && isNumber(value.bytes) &&
  isText(value.url) && value.url.startsWith("data:");

/** @param {any} value */
const isRun = (value) =>
  isObject(value) && isText(value.id) && ["chat", "speech", "realtime"].includes(value.kind) && isObject(value.request) &&
  isList(value.words, isWord) && isList(value.events, isEvent) && isNumbers(value.marks) && isText(value.pcm) &&
  isText(value.text) && [value.heard, value.error, value.model, value.dialect, value.sentAt].every((one) => isNone(one, isText)) &&
  isNone(value.timing, isNumbers) && isNone(value.usage, isObject);

/** @param {any} value */
const isTurn = (value) =>
  isObject(value) && isText(value.id) && ["user", "assistant"].includes(value.role) && isText(value.text) &&
  isList(value.attachments, isAttachment) && isNone(value.run, isRun);

/** Whether the page can show them. @param {any} value */
export function areTurns(value) {
  return isList(value, isTurn) && new Set(value.map((/** @type {any} */ turn) => turn.id)).size === value.length;
}
