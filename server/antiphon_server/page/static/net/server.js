// @ts-check
/** The server that this page came from: its addresses, its key, and its errors. */

const KEY = "antiphon-key";

/** What the server answered instead of what was asked for. */
export class ServerError extends Error {
  /** @param {string} message @param {number} status @param {string} code @param {string} hint @param {number | null} retryAfterS */
  constructor(message, status = 0, code = "", hint = "", retryAfterS = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
    this.retryAfterS = retryAfterS;
  }
}

/** @param {string} path below the folder of the page, so that a prefix of a proxy is kept */
export function address(path) {
  return new URL(path, new URL(".", document.baseURI)).href;
}

export const key = {
  get needed() {
    return document.documentElement.dataset.key === "needed";
  },
  get value() {
    return sessionStorage.getItem(KEY) ?? "";
  },
  set value(given) {
    if (given) sessionStorage.setItem(KEY, given);
    else sessionStorage.removeItem(KEY);
  },
  /** Asks the user. @type {(wasRefused: boolean) => Promise<boolean>} */
  ask: async () => false,
};

/**
 * A response with status 2xx. Throws ServerError otherwise.
 * @param {string} path @param {RequestInit} [init] @returns {Promise<Response>}
 */
export async function request(path, init = {}) {
  if (key.needed && !key.value && !(await key.ask(false))) throw new ServerError("The server needs a key.", 401);
  const headers = new Headers(init.headers);
  if (key.value) headers.set("authorization", `Bearer ${key.value}`);
  let response;
  try {
    response = await fetch(address(path), { ...init, headers });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ServerError("The server cannot be reached.", 0, "unreachable");
  }
  if (response.ok) return response;
  if (response.status === 401 && (await key.ask(true))) return request(path, init);
  throw errorOf(await response.json().catch(() => ({})), response.status, response.headers.get("retry-after"));
}

/** @param {string} path @returns {Promise<any>} */
export async function read(path) {
  return (await request(path)).json();
}

/** @param {any} body an error of the API @param {number} status @param {string | null} retryAfter */
export function errorOf(body, status = 0, retryAfter = null) {
  const error = body?.error ?? body ?? {};
  const message = typeof error.message === "string" ? error.message : `The server answered with status ${status}.`;
  const seconds = retryAfter === null ? null : Number(retryAfter);
  return new ServerError(message, status, String(error.code ?? ""), String(error.hint ?? ""), seconds);
}
