// @ts-check
/** The switch between the system's theme, light and dark. `first-theme.js` has applied the choice already. */

import { byId, fill, icon } from "../dom.js";

const THEMES = /** @type {const} */ (["system", "light", "dark"]);
const ICONS = { system: "half", light: "sun", dark: "moon" };

export function startTheme() {
  const button = byId("theme-button", HTMLButtonElement);
  const show = () => {
    const theme = current();
    document.documentElement.dataset.theme = theme;
    fill(button, icon(ICONS[theme]));
    button.setAttribute("aria-label", `Theme: ${theme}`);
    document.dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    localStorage.setItem("antiphon-theme", THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length] ?? "system");
    show();
  });
  show();
}

function current() {
  const kept = localStorage.getItem("antiphon-theme");
  return THEMES.find((theme) => theme === kept) ?? "system";
}
