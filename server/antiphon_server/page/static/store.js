// @ts-check
/** A value that tells its subscribers of every change; optionally kept in the browser. */

/** @template {object} T */
export class Store {
  /** @type {T} */ #value;
  /** @type {Set<(value: T) => void>} */ #subscribers = new Set();
  /** @type {string | null} */ #key;

  /** @param {T} initial @param {string | null} key its name in the browser's storage; null: not kept */
  constructor(initial, key = null) {
    this.#key = key;
    this.#value = { ...initial, ...(key ? kept(key) : {}) };
  }

  get value() {
    return this.#value;
  }

  /** @param {Partial<T>} changes */
  set(changes) {
    this.#value = { ...this.#value, ...changes };
    if (this.#key) localStorage.setItem(this.#key, JSON.stringify(this.#value));
    for (const tell of this.#subscribers) tell(this.#value);
  }

  /** @param {(value: T) => void} tell called now and after every change @returns {() => void} ends it */
  subscribe(tell) {
    this.#subscribers.add(tell);
    tell(this.#value);
    return () => this.#subscribers.delete(tell);
  }
}

/** @param {string} key @returns {object} */
function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {};
  }
}
