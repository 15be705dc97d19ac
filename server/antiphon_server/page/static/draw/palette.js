// @ts-check
/** The colours of the drawings: those of the style sheet, as they are in the current theme. */

/** @typedef {{ ink: string, muted: string, faint: string, accent: string, wash: string, bad: string, surface: string }} Palette */

const NAMES = /** @type {const} */ (["ink", "muted", "faint", "accent", "wash", "bad", "surface"]);

/** @type {Palette | null} */ let known = null;

/** @returns {Palette} */
export function palette() {
  known ??= read();
  return known;
}

function forget() {
  known = null;
}

/** A canvas cannot resolve `var()`: an element does. @returns {Palette} */
function read() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const found = /** @type {Palette} */ ({});
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", forget);
document.addEventListener("themechange", forget);
