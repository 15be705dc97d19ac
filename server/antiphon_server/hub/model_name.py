"""Tells names of hub models from folders."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def hub_name(model: Path) -> str | None:
    """`owner/name`, if `model` has this form and is no existing path. `./owner/name` is a folder."""
    name = str(model)
    return name if _NAME.fullmatch(name) and not model.exists() else None
