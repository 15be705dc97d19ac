"""SVG plot of a report: time to first audio and underruns over the load.

The levels stand at equal distances on the load axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from antiphon_server.bench.report.report import Report
from antiphon_server.bench.report.summary import LevelReport

_WIDTH, _HEIGHT = 720, 520
_LEFT, _RIGHT = 70, 700
_LATENCY = (88, 300)
_UNDERRUNS = (356, 470)
_INK, _GRID = "#222222", "#dddddd"
_SERIES = (("p50", "#1b6ca8"), ("p90", "#e08e0b"), ("p99", "#b3261e"))


def as_svg(report: Report) -> str:
    levels = report.levels
    what = "TTFA" if report.asked.answer == "speech" else "TTFT"
    title = f"{report.server.model}: {what} and underruns over the load"
    below = f"{report.asked.inputs}; {report.client.processor}; {report.created}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 24, title, "start", 15),
        _text(_LEFT, 42, below[:110], "start", 10),
        *_latency_panel(levels, what),
        *_underrun_panel(levels),
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 10, "requests in flight, or per second", "middle"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _latency_panel(levels: Sequence[LevelReport], what: str) -> list[str]:
    found = [level.latencies.ttfa_s if what == "TTFA" else level.latencies.ttft_s for level in levels]
    top = _ceiling(max((one.p99 * 1e3 for one in found if one), default=1.0))
    parts = _frame(_LATENCY, top, f"{what}, ms")
    for number, (name, colour) in enumerate(_SERIES):
        points = [
            (_x(index, len(levels)), _y(_LATENCY, getattr(one, name) * 1e3, top))
            for index, one in enumerate(found)
            if one
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(_LEFT + 20 + 50 * number, _LATENCY[0] + 14, name, "start", 12, colour))
    return parts


def _underrun_panel(levels: Sequence[LevelReport]) -> list[str]:
    """Bars: the share of streams with underruns, labelled with their seconds (above) and the load (below)."""
    parts = _frame(_UNDERRUNS, 100.0, "streams with underruns, %")
    for index, level in enumerate(levels):
        x, with_audio = _x(index, len(levels)), sum(record.playback is not None for record in level.streams)
        share = 100 * level.streams_with_underruns / with_audio if with_audio else 0.0
        y = _y(_UNDERRUNS, share, 100.0)
        parts.append(
            f'<rect x="{x - 12:.1f}" y="{y:.1f}" width="24" height="{_UNDERRUNS[1] - y:.1f}" fill="#b3261e"/>'
        )
        parts.append(_text(x, y - 5, f"{level.underrun_s:.2f} s", "middle", 10))
        parts.append(_text(x, _UNDERRUNS[1] + 18, f"{level.name} (n {with_audio})", "middle"))
    return parts


def _frame(panel: tuple[int, int], top: float, title: str) -> list[str]:
    parts = [_text(_LEFT, panel[0] - 8, title, "start")]
    for step in range(5):
        value = top * step / 4
        y = _y(panel, value, top)
        parts.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{value:g}", "end"))
    return parts


def _x(index: int, levels: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (index + 0.5) / levels


def _y(panel: tuple[int, int], value: float, top: float) -> float:
    return panel[1] - (panel[1] - panel[0]) * value / top


def _ceiling(value: float) -> float:
    """The next round number that four grid lines divide evenly."""
    unit = 10.0 ** math.floor(math.log10(max(value, 1e-3)))
    return next(unit * step for step in (1, 2, 4, 6, 8, 10, 20) if unit * step >= value)


def _text(x: float, y: float, text: str, anchor: str, size: int = 12, colour: str = _INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
