"""Tiers: presets of engine settings for one kind of machine. They never change the API.

Everything that the operator sets overrides them; they override the defaults.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal, get_args

import yaml

Tier = Literal["plus", "flash", "light", "nano"]
TIERS: tuple[str, ...] = get_args(Tier)


def read_tier(name: str) -> dict[str, Any]:
    """`name`: one of `TIERS`. The files are `deploy/tiers/*.yaml`, which are package data."""
    file = resources.files(__package__).joinpath("tiers", f"{name}.yaml")
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return settings
