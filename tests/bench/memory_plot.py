"""An SVG of memory over time: the server with its decoders, the engines, and when a decoder ran."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from tests.e2e.process_usage import Usage, UsageWatch, has_decoded

WIDTH, PANEL, LEFT, RIGHT, TOP = 720, 190, 70, 700, 30
COLOURS = {"server": "#1b6ca8", "engines": "#b3261e"}
MIB = 1 << 20


def memory_svg(watches: Sequence[tuple[str, UsageWatch]]) -> str:
    """One panel for each question."""
    panels = [_panel(index * PANEL, title, watch.samples) for index, (title, watch) in enumerate(watches)]
    height = PANEL * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="white"/>{"".join(panels)}</svg>\n'
    )


def memories(usage: Usage) -> tuple[int, int]:
    """In the order of `COLOURS`."""
    return usage.memory["server"] + usage.memory["decoders"], usage.memory["engine"]


def _panel(top: int, title: str, samples: Sequence[Usage]) -> str:
    end_s = max(samples[-1].at_s, 1e-3)
    most = max(max(memories(one)) for one in samples)
    floor = top + PANEL - 40

    def across(at_s: float) -> float:
        return LEFT + (RIGHT - LEFT) * at_s / end_s

    parts = [f'<text x="{LEFT}" y="{top + 16}">{escape(title)}</text>']
    for line, (name, colour) in enumerate(COLOURS.items()):
        points = " ".join(
            f"{across(one.at_s):.1f},{floor - (floor - top - TOP) * memories(one)[line] / most:.1f}"
            for one in samples
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{RIGHT - 90 * line}" y="{top + 16}" text-anchor="end" fill="{colour}">{name}</text>'
        )
    for one, later in pairwise(samples):
        if has_decoded(one, later):
            width = across(later.at_s) - across(one.at_s)
            parts.append(
                f'<rect x="{across(one.at_s):.1f}" y="{floor + 4}" width="{width:.1f}" height="6" '
                'fill="#e08e0b"/>'
            )
    parts += [
        f'<text x="{LEFT - 6}" y="{top + TOP + 6}" text-anchor="end">{most / MIB:,.0f} MiB</text>',
        f'<text x="{LEFT}" y="{floor + 24}">orange: a decoder runs</text>',
        f'<text x="{RIGHT}" y="{floor + 24}" text-anchor="end">{end_s:.0f} s</text>',
    ]
    return "".join(parts)
