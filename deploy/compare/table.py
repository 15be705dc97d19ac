"""The reports of `antiphon bench --json` side by side, as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def row(name: str, level: dict[str, Any]) -> list[str]:
    first = (level["latencies"] or {}).get("ttfa_s") or {}
    cost = (level["machine_cost"] or {}).get("per_hour_of_speech")
    return [
        level["name"],
        name,
        f"{level['good']} of {level['requests']}",
        *(f"{first[share] * 1e3:.0f} ms" if share in first else "" for share in ("p50", "p95")),
        str(level["streams_with_underruns"]),
        f"{level['audio_s_per_s']:.2f}",
        "" if cost is None else f"{cost:.3f}",
    ]


def table(files: list[Path]) -> str:
    rows = [row(file.stem, level) for file in files for level in json.loads(file.read_text())["levels"]]
    head = [
        "load",
        "server",
        "whole",
        "first sound, median",
        "95 %",
        "with underruns",
        "speech, s/s",
        "cost per hour",
    ]
    rows = [head, ["---"] * len(head), *sorted(rows, key=lambda cells: [len(cells[0]), *cells])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))  # noqa: T201
