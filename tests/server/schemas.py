"""JSON schemas for tests: ordinary ones, and one whose compilation takes longer than is allowed."""

from __future__ import annotations

import json
from typing import Any

ORDINARY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
        "mood": {"enum": ["calm", "glad", None]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def names(number: int) -> dict[str, Any]:
    return {f"p{i}": {} for i in range(number)}


def objects(number: int) -> dict[str, Any]:
    """An object with that many optional strings."""
    return {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(number)}}


def dear(number: int, *, as_text: bool = False) -> Any:
    """Each is small, within every count, and takes seconds to compile: multiples of two primes."""
    schema = {"title": str(number), "allOf": [{"type": "integer", "multipleOf": 997}, {"multipleOf": 991}]}
    return json.dumps(schema) if as_text else schema
