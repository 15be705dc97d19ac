"""Walk over a JSON schema: every schema within it, and how references change when it moves.

Values that only look like schemas (in `const`, `enum`, `default`) are skipped; a `$ref` must not point there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

Pointer = tuple[str, ...]

NAMED_SCHEMAS = ("properties", "$defs", "definitions")
SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
SCHEMAS = ("items", "additionalItems", "additionalProperties")
_MAX_PARAM_CHARS = 300
_MAX_NAME_CHARS = 64


@dataclass(frozen=True, slots=True)
class Subschema:
    """A schema within the whole. `pointer`: as in a `$ref`; `param`: its path in the request."""

    schema: Any
    pointer: Pointer
    param: str


def subschemas(sub: Subschema) -> Iterator[Subschema]:
    """`sub` and every schema within it."""
    yield sub
    if isinstance(sub.schema, dict):
        for steps, shown, schema in _inner(sub.schema):
            yield from subschemas(Subschema(schema, (*sub.pointer, *steps), _join(sub.param, shown)))


def pointer_of(reference: Any) -> Pointer | None:
    """None if the reference is not a pointer within the same document."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    steps = unquote(reference[1:]).split("/")
    if steps[0]:
        return None
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps[1:])


def rebased(schema: Any, at: Pointer) -> Any:
    """The schema as part of a larger one, at the pointer `at`: without its id, its references moved."""
    moved = _moved(schema, "#" + "".join(f"/{step}" for step in at))
    if isinstance(moved, dict):
        for name in ("$schema", "$id", "id"):
            moved.pop(name, None)
    return moved


def _inner(schema: dict[str, Any]) -> Iterator[tuple[Pointer, str, Any]]:
    for keyword in NAMED_SCHEMAS:
        inner = schema.get(keyword)
        if isinstance(inner, dict):
            for name, value in inner.items():
                yield (keyword, name), f".{keyword}.{_shown(name)}", value
    for keyword in SCHEMA_LISTS:
        inner = schema.get(keyword)
        if isinstance(inner, list):
            for number, value in enumerate(inner):
                yield (keyword, str(number)), f".{keyword}[{number}]", value
    for keyword in SCHEMAS:
        if isinstance(schema.get(keyword), dict):
            yield (keyword,), f".{keyword}", schema[keyword]


def _moved(schema: Any, at: str) -> Any:
    if not isinstance(schema, dict):
        return schema
    moved = dict(schema)
    for keyword in NAMED_SCHEMAS:
        if isinstance(schema.get(keyword), dict):
            moved[keyword] = {name: _moved(value, at) for name, value in schema[keyword].items()}
    for keyword in SCHEMA_LISTS:
        if isinstance(schema.get(keyword), list):
            moved[keyword] = [_moved(value, at) for value in schema[keyword]]
    for keyword in SCHEMAS:
        if isinstance(schema.get(keyword), dict):
            moved[keyword] = _moved(schema[keyword], at)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = at + reference[1:]
    return moved


def _shown(name: str) -> str:
    return "".join(c for c in name[:_MAX_NAME_CHARS] if c.isprintable())


def _join(param: str, step: str) -> str:
    """Long paths end with "..."."""
    if len(param) + len(step) <= _MAX_PARAM_CHARS:
        return param + step
    return param if param.endswith("...") else f"{param}..."
