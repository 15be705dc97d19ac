"""An SVG of one long request over time: decoding, reading, memory, and short requests beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise

from tests.e2e.process_usage import Usage, has_decoded

WIDTH, HEIGHT, LEFT, RIGHT = 760, 420, 90, 730
_PREFILL, _MEMORY, _BARS = (40, 190), (210, 340), (352, 400)
_GREY = "#888"
_SERVER, _ENGINE, _DECODE, _SHORT = "#1b6ca8", "#b3261e", "#e08e0b", "#5b8c2a"
_MIB = 1 << 20
# Of the cache, below which no request holds blocks.
_IDLE = 1e-4

Across = Callable[[float], float]


@dataclass(frozen=True)
class Timeline:
    """`prompt_tokens`: of the long request. `progress`: seconds and tokens read. `short`: when a short
    request began, and its seconds to the first token.
    """

    title: str
    samples: Sequence[Usage]
    prompt_tokens: int
    progress: Sequence[tuple[float, int]]
    short: Sequence[tuple[float, float]]
    first_token_s: float

    def svg(self) -> str:
        end_s = max(self.samples[-1].at_s, self.first_token_s, 1e-3)

        def across(at_s: float) -> float:
            return LEFT + (RIGHT - LEFT) * min(at_s, end_s) / end_s

        parts = [_text(LEFT, 20, self.title)]
        parts += self._prefill(across)
        parts += self._memory(across)
        parts += self._bars(across)
        parts.append(_text(RIGHT, HEIGHT - 6, f"{end_s:.0f} s", "end"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="sans-serif" font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
            f"{''.join(parts)}</svg>\n"
        )

    def _prefill(self, across: Across) -> list[str]:
        """A window is encoded in the step that reads its first token, so one line shows both."""
        top, floor = _PREFILL

        def up(tokens: float) -> float:
            return floor - (floor - top) * min(tokens / max(self.prompt_tokens, 1), 1.0)

        shares = [(one.at_s, one.cache) for one in self.samples if one.cache is not None]
        most = max((share for _, share in shares), default=0.0) or 1.0
        held = [(at_s, share / most * self.prompt_tokens) for at_s, share in shares]
        return [
            _line([(across(at_s), up(tokens)) for at_s, tokens in held], _ENGINE),
            *(
                f'<circle cx="{across(at_s):.1f}" cy="{up(tokens):.1f}" r="2" fill="{_SERVER}"/>'
                for at_s, tokens in self.progress
            ),
            _text(LEFT - 6, top + 8, f"{self.prompt_tokens:,} tokens", "end"),
            _text(LEFT + 4, top + 8, "encoded and read: the KV cache that requests hold", colour=_ENGINE),
            _text(LEFT + 4, top + 22, "progress as the client reads it", colour=_SERVER),
            _line([(LEFT, floor), (RIGHT, floor)], _GREY),
        ]

    def _memory(self, across: Across) -> list[str]:
        top, floor = _MEMORY
        idle = self.samples[0]
        lines = {
            _SERVER: [
                (one.at_s, one.memory["server"] + one.memory["decoders"]
                 - idle.memory["server"] - idle.memory["decoders"])
                for one in self.samples
            ],
            _ENGINE: [(one.at_s, one.memory["engine"] - idle.memory["engine"]) for one in self.samples],
        }  # fmt: skip
        most = max(max(size for _, size in line) for line in lines.values()) or 1

        def up(size: int) -> float:
            return floor - (floor - top) * max(size, 0) / most

        drawn = [
            _line([(across(at_s), up(size)) for at_s, size in line], colour) for colour, line in lines.items()
        ]
        return [
            *drawn,
            _text(LEFT - 6, top + 8, f"+{most / _MIB:,.0f} MiB", "end"),
            # Below the lines, which are high except at the beginning.
            _text(RIGHT - 4, floor - 22, "server and decoders above idle", "end", _SERVER),
            _text(RIGHT - 4, floor - 8, "Thinker above idle", "end", _ENGINE),
            _line([(LEFT, floor), (RIGHT, floor)], _GREY),
        ]

    def _bars(self, across: Across) -> list[str]:
        top, floor = _BARS
        spans = {
            "decode": (
                _DECODE,
                [(one.at_s, later.at_s) for one, later in pairwise(self.samples) if has_decoded(one, later)],
            ),
            "read": (
                _ENGINE,
                [
                    (one.at_s - 1, one.at_s)
                    for one in self.samples
                    if one.cache is not None and one.cache > _IDLE
                ],
            ),
            "short": (_SHORT, [(began, began + took) for began, took in self.short]),
        }
        height = (floor - top) / len(spans)
        parts = []
        for row, (name, (colour, found)) in enumerate(spans.items()):
            y = top + row * height
            parts.append(_text(LEFT - 6, y + height - 5, name, "end"))
            parts += [
                f'<rect x="{across(max(begin, 0)):.1f}" y="{y:.1f}" height="{height - 4:.1f}" '
                f'fill="{colour}" width="{max(across(end) - across(max(begin, 0)), 0.5):.1f}"/>'
                for begin, end in _joined(found)
            ]
        return parts


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans in order, those that touch as one."""
    joined: list[tuple[float, float]] = []
    for begin, end in spans:
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The first, highest, lowest and last point of each pixel across."""
    kept: list[tuple[float, float]] = []
    for _, column in groupby(points, key=lambda point: int(point[0])):
        found = list(column)
        ends = (found[0], *sorted((min(found, key=_up), max(found, key=_up))), found[-1])
        kept += dict.fromkeys(ends)
    return kept


def _up(point: tuple[float, float]) -> float:
    return point[1]


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    points = _thinned(points)
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "black") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
