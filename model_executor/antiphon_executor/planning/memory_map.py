"""A picture of a memory plan as SVG: one bar for each GPU, or one for the machine."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from antiphon_executor.planning.planner import EngineMemory, GiB, MemoryPlan

_WIDTH, _LEFT, _RIGHT = 860, 110, 830
_BAR, _GAP, _TOP = 44, 60, 70
_PARTS = ("weights", "slots", "working", "cache")
_COLOURS = {
    "thinker": ("#0b5394", "#3d85c6", "#9fc5e8", "#6fa8dc"),
    "talker": ("#7f6000", "#bf9000", "#ffe599", "#f1c232"),
    "server": ("#38761d", "#6aa84f", "#93c47d", "#b6d7a8", "#d9ead3"),
}

Part = tuple[str, int, str]
"""Label, bytes, colour."""


def memory_map(plan: MemoryPlan, host: Iterable[tuple[str, int]] = ()) -> str:
    """`host`: parts of the server's memory, by name; they have a bar of their own if there are GPUs."""
    server: list[Part] = [
        (f"server: {name}", size, _COLOURS["server"][number % len(_COLOURS["server"])])
        for number, (name, size) in enumerate(host)
    ]
    gpus = sorted({gpu for engine in plan.engines for gpu in engine.gpus})
    bars = [(f"GPU {gpu}", plan.memory_bytes, _parts(plan.engines, gpu)) for gpu in gpus]
    if gpus:
        bars += [("host", sum(size for _, size, _ in server), server)] if server else []
    else:
        bars = [("machine", plan.memory_bytes, _parts(plan.engines, None) + server)]
    rows = [row for number, bar in enumerate(bars) for row in _bar(number, *bar)]
    legend = {label: (size, colour) for _, _, parts in bars for label, size, colour in parts}
    top = _TOP + len(bars) * (_BAR + _GAP)
    height = top + 18 * len(legend) + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            f'<text x="20" y="28" font-size="16">{escape(plan.family)}: memory</text>',
            f'<text x="20" y="48">{"it fits" if plan.fits else escape("short: " + plan.shortages[0])}</text>',
            *rows,
            *(row for number, item in enumerate(legend.items()) for row in _entry(top + 18 * number, *item)),
            "</svg>\n",
        ]
    )


def _parts(engines: Iterable[EngineMemory], gpu: int | None) -> list[Part]:
    return [
        (f"{engine.name}: {name}", getattr(engine, f"{name}_bytes"), colour)
        for engine in engines
        if gpu is None or gpu in engine.gpus
        for name, colour in zip(_PARTS, _COLOURS[engine.name], strict=True)
    ]


def _bar(number: int, name: str, memory_bytes: int, parts: list[Part]) -> list[str]:
    """The parts one after the other, and a line at the memory that there is."""
    y = _TOP + number * (_BAR + _GAP)
    scale = (_RIGHT - _LEFT) / max(memory_bytes, sum(max(size, 0) for _, size, _ in parts), 1)
    x = float(_LEFT)
    rows = [f'<text x="20" y="{y + 27}">{escape(name)}</text>']
    for label, size, colour in parts:
        width = max(size, 0) * scale
        rows.append(
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}">'
            f"<title>{escape(label)} {size / GiB:.2f} GiB</title></rect>"
        )
        x += width
    end = _LEFT + memory_bytes * scale
    rows.append(f'<line x1="{end:.1f}" x2="{end:.1f}" y1="{y - 6}" y2="{y + _BAR + 6}" stroke="#b3261e"/>')
    rows.append(
        f'<text x="{end:.1f}" y="{y + _BAR + 22}" text-anchor="end">{memory_bytes / GiB:.1f} GiB</text>'
    )
    return rows


def _entry(y: int, label: str, item: tuple[int, str]) -> list[str]:
    size, colour = item
    return [
        f'<rect x="{_LEFT}" y="{y - 10}" width="12" height="12" fill="{colour}"/>',
        f'<text x="{_LEFT + 20}" y="{y}">{escape(label)}: {size / GiB:.2f} GiB</text>',
    ]
