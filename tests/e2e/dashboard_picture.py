"""The dashboard's panels, drawn from a real Prometheus beside a loaded server: `make dashboard-picture`.

Writes an SVG (deploy/grafana/dashboard.svg, or the argument). Exit code 1 if a panel has no figures.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.e2e.answers import SPOKEN, said
from tests.e2e.prometheus import DEPLOY, PANELS, Prometheus, load
from tests.e2e.server_process import RunningServer, becomes, serving

_LOAD_S = 60.0
_STEP_S = 2.0
_RATES_OVER = "10s"
WIDTH, HEIGHT, COLUMNS = 340, 180, 3
# Of a panel: where its plot begins and ends.
_LEFT, _RIGHT, _TOP, _FLOOR = 52, 326, 28, 118
_MOST_NAMES = 6
COLOURS = ("#1b6ca8", "#b3261e", "#2e7d32", "#e08e0b", "#6a3d9a", "#555555")


@dataclass(frozen=True)
class Line:
    """`points`: a time and a figure each. Times are seconds since the beginning."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """`unit`: as Grafana names it."""

    title: str
    unit: str
    lines: tuple[Line, ...]


def dashboard_svg(panels: Sequence[Panel], until_s: float) -> str:
    rows = math.ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT
    drawn = (
        f'<g transform="translate({number % COLUMNS * WIDTH},{number // COLUMNS * HEIGHT})">'
        f"{_draw(panel, until_s)}</g>"
        for number, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="white"/>{"".join(drawn)}</svg>\n'
    )


def _draw(panel: Panel, until_s: float) -> str:
    most = max((figure for line in panel.lines for _, figure in line.points), default=0.0) or 1.0
    parts = [
        f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(panel.title)}</text>',
        f'<path d="M{_LEFT},{_TOP} V{_FLOOR} H{_RIGHT}" fill="none" stroke="#bbb"/>',
        f'<text x="{_LEFT - 4}" y="{_TOP + 8}" text-anchor="end">{_shown(most, panel.unit)}</text>',
        f'<text x="{_LEFT - 4}" y="{_FLOOR}" text-anchor="end">0</text>',
        f'<text x="{_RIGHT}" y="{_FLOOR + 14}" text-anchor="end" fill="#888">{until_s:.0f} s</text>',
    ]
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{_LEFT + (_RIGHT - _LEFT) * at / until_s:.0f},{_FLOOR - (_FLOOR - _TOP) * figure / most:.1f}"
            for at, figure in line.points
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    names = [(line.name, COLOURS[number % len(COLOURS)]) for number, line in enumerate(panel.lines)]
    if len(names) > _MOST_NAMES:
        names[_MOST_NAMES - 1 :] = [(f"and {len(names) - _MOST_NAMES + 1} more", "#888")]
    for number, (name, colour) in enumerate(names):
        across, down = 12 + 165 * (number % 2), _FLOOR + 30 + 13 * (number // 2)
        parts.append(f'<text x="{across}" y="{down}" fill="{colour}">{escape(name)}</text>')
    return "".join(parts)


def _shown(figure: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * figure:.2g} %"
    if unit == "s":
        return f"{figure:.2g} s" if figure >= 1 else f"{1000 * figure:.3g} ms"
    return f"{figure:.3g}"


def read_panels(prometheus: Prometheus, since_s: float) -> list[Panel]:
    panels = []
    for panel in PANELS:
        lines = []
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", _RATES_OVER)
            lines += [_line(target, one) for one in prometheus.over_time(query, since_s, _STEP_S)]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        panels.append(Panel(panel["title"], unit, tuple(line for line in lines if line.points)))
    return _from_the_first_moment(panels)


def _line(target: dict[str, Any], series: dict[str, Any]) -> Line:
    name = target["legendFormat"]
    for label, value in series["metric"].items():
        name = name.replace(f"{{{{{label}}}}}", value)
    pairs = ((float(at), float(figure)) for at, figure in series["values"])
    return Line(name, tuple((at, figure) for at, figure in pairs if math.isfinite(figure)))


def _from_the_first_moment(panels: list[Panel]) -> list[Panel]:
    began = min((at for panel in panels for line in panel.lines for at, _ in line.points), default=0.0)
    return [
        Panel(
            panel.title,
            panel.unit,
            tuple(Line(one.name, tuple((at - began, y) for at, y in one.points)) for one in panel.lines),
        )
        for panel in panels
    ]


def keep_busy(server: RunningServer, until: Callable[[], bool]) -> None:
    """Spoken and written answers, a client that leaves, and turns of a conversation."""
    url = f"{server.url}/v1/chat/completions"
    speech = {**SPOKEN, "audio": {"format": "pcm16"}, "stream": True}
    asked = {"messages": said("Count from one to twelve.")}

    def speaks() -> None:
        while not until():
            httpx.post(url, json={**asked, **speech}, timeout=120)

    def leaves() -> None:
        while not until():
            with httpx.stream("POST", url, json={**asked, **speech}, timeout=120) as answer:
                next(answer.iter_lines(), None)
            time.sleep(2)

    def converses() -> None:
        while not until():
            load(server)

    with ThreadPoolExecutor(4) as pool:
        for ending in [pool.submit(work) for work in (speaks, speaks, leaves, converses)]:
            ending.result()


def main(file: str = str(DEPLOY / "grafana/dashboard.svg")) -> int:
    with TemporaryDirectory() as name:
        folder = Path(name)
        server = serving(
            ANTIPHON_NANO, folder / "log", "--served-model-name", "antiphon-nano", "--dtype", "auto"
        )
        prometheus = Prometheus(folder, server)
        server.start()
        process = prometheus.start()
        try:
            assert becomes(prometheus.is_ready, 60)
            began = time.monotonic()
            keep_busy(server, lambda: time.monotonic() - began > _LOAD_S)
            took_s = time.monotonic() - began
            panels = read_panels(prometheus, took_s)
        finally:
            process.terminate()
            process.wait(20)
            server.end()
    Path(file).write_text(dashboard_svg(panels, took_s), encoding="utf-8")
    empty = [panel.title for panel in panels if not panel.lines]
    print(
        f"{file}: {len(panels)} panels, {sum(len(panel.lines) for panel in panels)} series, without: {empty}"
    )
    return int(bool(empty))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
