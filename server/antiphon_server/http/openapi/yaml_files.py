"""The texts and examples of the OpenAPI document, which are YAML files of this package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def load_yaml(name: str) -> Any:
    return yaml.safe_load(files("antiphon_server.http.openapi").joinpath(name).read_text(encoding="utf-8"))
