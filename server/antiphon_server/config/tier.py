"""Deployment presets: the settings of a tier, for one kind of machine.

In: a tier's name. Out: its settings, as the YAML file has them. They rank below everything that the operator
says and above the defaults; they touch the engines alone, so no tier changes the API.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Literal, get_args

import yaml

Tier = Literal["plus", "flash", "light", "nano"]
TIERS: tuple[str, ...] = get_args(Tier)


def read_tier(name: str) -> dict[str, Any]:
    """`name`: one of `TIERS`. The files are `deploy/tiers/*.yaml`; an installed package brings them along."""
    file = resources.files(__package__).joinpath("tiers", f"{name}.yaml")
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return settings
