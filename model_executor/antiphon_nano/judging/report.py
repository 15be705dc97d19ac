"""The report of `make nano`: a JSON file of figures by name, filled stage by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def record(path: Path, key: str, figures: Mapping[str, object]) -> None:
    """Sets `figures` under `key` in the report at `path`, and prints them."""
    report = json.loads(path.read_text()) if path.exists() else {}
    report[key] = dict(figures)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n")
    partial.replace(path)
    print(f"{key}: {json.dumps(report[key])}", flush=True)
