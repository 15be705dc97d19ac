"""`antiphon config`: the settings in force, where each came from, and their schema.

In: loaded settings. Out: lines or JSON. Keys are counted, never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from antiphon_server.config.flags import setting_fields
from antiphon_server.config.settings import Settings
from antiphon_server.config.sources import Loaded


def rows(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    """Name, value and origin of every setting."""
    for leaf in setting_fields():
        value: Any = loaded.settings
        for part in leaf.name.split("."):
            value = getattr(value, part)
        if leaf.is_secret:
            value = f"{len(value)} hidden"
        yield leaf.name, value, loaded.origins.get(leaf.name, "default")


def as_lines(loaded: Loaded) -> str:
    return "\n".join(f"{name} = {_plain(value)}" for name, value, _ in rows(loaded))


def as_lines_with_origin(loaded: Loaded) -> str:
    pairs = [(f"{name} = {_plain(value)}", origin) for name, value, origin in rows(loaded)]
    width = min(max(len(text) for text, _ in pairs), 70)
    return "\n".join(f"{text:<{width}}  # {origin}" for text, origin in pairs)


def as_json(loaded: Loaded) -> str:
    settings = [{"name": name, "value": value, "origin": origin} for name, value, origin in rows(loaded)]
    return json.dumps({"settings": settings}, indent=2, default=str)


def schema() -> str:
    return json.dumps(Settings.model_json_schema(), indent=2)


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None else str(value)
