// @ts-check
/** The dialog that asks for the server's key. It is kept for this tab only. */

import { byId } from "../dom.js";
import { key } from "../net/server.js";

/** @type {Promise<boolean> | null} */ let asking = null;

key.ask = (wasRefused) => {
  asking ??= ask(wasRefused).finally(() => {
    asking = null;
  });
  return asking;
};

/** @param {boolean} wasRefused @returns {Promise<boolean>} whether the user gave one */
async function ask(wasRefused) {
  const dialog = byId("key-dialog", HTMLDialogElement);
  const input = byId("key-input", HTMLInputElement);
  byId("key-problem", HTMLElement).hidden = !wasRefused || !key.value;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "use" || !input.value.trim()) return false;
  key.value = input.value.trim();
  input.value = "";
  return true;
}
