// @ts-check
/** Tabs of the panel, as the ARIA practices describe them: arrows move, the chosen one is kept. */

/** @param {HTMLElement} list @param {(name: string) => void} chosen */
export function startTabs(list, chosen) {
  const tabs = /** @type {HTMLElement[]} */ ([...list.querySelectorAll("[role=tab]")]);
  const choose = (/** @type {string} */ name) => {
    for (const tab of tabs) {
      const isChosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !isChosen;
    }
    chosen(name);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab.dataset.tab ?? ""));
    tab.addEventListener("keydown", ({ key }) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!steps) return;
      const next = tabs[(index + steps + tabs.length) % tabs.length];
      next?.focus();
      next?.click();
    });
  }
  choose(tabs[0]?.dataset.tab ?? "");
  return choose;
}
