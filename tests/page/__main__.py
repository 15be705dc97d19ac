"""Pictures of each state of the page, wide and narrow, light and dark, and what it costs: `make page-shots`.

Writes PNG files to a folder (ARGS="DIR"), and prints weight, first paint, and script time a frame.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from antiphon_server.page.files import page_files
from tests.browser.page import Page
from tests.e2e.live_stream import thinker_process
from tests.e2e.server_process import RunningServer
from tests.page.frame_trace import traced
from tests.page.stage import ask, heard, listener, nano_server, opened

SIZES = {"wide": (1440, 900, 1.0), "narrow": (390, 844, 2.0)}
THEMES = ("light", "dark")
TABS = ("timing", "settings", "compare", "code", "log")


def main(folder: str = "build/page-shots") -> None:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory() as place,
        nano_server(Path(place, "log")) as server,
        listener(Path(place, "browser")) as browser,
    ):
        with browser.page() as page:
            measure(page, server)
        for size, (width, height, scale) in SIZES.items():
            with browser.page() as page:
                page.resize(width, height, scale=scale, mobile=size == "narrow")
                opened(page, f"{server.url}/")
                picture_states(page, out, size)
        with browser.page() as page:
            page.resize(*SIZES["wide"][:2])
            opened(page, f"{server.url}/")
            picture_death(page, server, out)


def measure(page: Page, server: RunningServer) -> None:
    print(f"weight: {sum(len(file.body) for file in page_files().values()) / 1e3:.0f} kB")
    page.resize(1440, 900)
    opened(page, f"{server.url}/")
    paints = []
    for _ in range(5):
        opened(page, f"{server.url}/")
        paints.append(page.run("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"))
    print(f"first paint: median {median(paints):.0f} ms, worst {max(paints):.0f} ms")
    with traced(page) as trace:
        page.click("#example-count")
        heard(page)
    spent = sorted(trace.script_ms)
    print(
        f"script a frame while an answer plays: {len(spent)} frames, median {median(spent):.2f} ms, "
        f"99 % {spent[int(len(spent) * 0.99)]:.2f} ms, worst {spent[-1]:.2f} ms"
    )


def picture_states(page: Page, out: Path, size: str) -> None:
    shoot(page, out / f"{size}-empty")
    page.click("#example-show")
    heard(page)
    page.click("#new-button")
    page.click("#message")
    page.write("Count from one to twelve.")
    page.press("Enter")
    page.wait_for("document.querySelectorAll('.turn:last-child .word.is-heard').length > 3", 60)
    shoot(page, out / f"{size}-speaking")
    heard(page)
    if size == "narrow":
        page.click("#panel-button")
    for tab in TABS:
        page.click(f"#tab-{tab}")
        if tab == "compare":
            page.click("#compare-form button[type=submit]")
            page.wait_for("antiphon.compare.player?.report.state === 'ended'", 60)
        page.listen(0.5)
        shoot(page, out / f"{size}-{tab}")
    if size == "narrow":
        page.click("#panel-button")
    page.click("#new-button")
    page.click("#live-button")
    page.wait_for("antiphon.live.store.value.phase === 'speaking'", 60)
    page.listen(1.5)
    shoot(page, out / f"{size}-hands-free")
    page.click("#live-button")
    page.click("#history-button")
    page.listen(0.3)
    shoot(page, out / f"{size}-kept")
    page.press("Escape")


def picture_death(page: Page, server: RunningServer, out: Path) -> None:
    page.click("#example-count")
    page.wait_for("antiphon.conversation.turns[1]?.run.samples > 0", 60)
    thinker_process(server).kill()
    page.wait_for("document.querySelector('#health').dataset.state !== 'ready'", 30)
    ask(page, "What is two plus three?")
    shoot(page, out / "wide-engine-died")


def shoot(page: Page, file: Path) -> None:
    for theme in THEMES:
        page.prefer(color_scheme=theme)
        page.listen(0.15)
        page.screenshot(file.with_name(f"{file.name}-{theme}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
