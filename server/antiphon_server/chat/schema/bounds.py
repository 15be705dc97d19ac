"""Bounds of the JSON schemas of one request, checked before any of them is compiled.

They refuse keywords that the compiler does not support. `cost_estimator` measures the rest.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from antiphon_server.chat.schema.subschemas import SCHEMA_LISTS, Pointer, Subschema, pointer_of, subschemas
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api import limits

_IN_THE_PROMPT = "Describe it in the prompt, or list the values in an enum."
_UNSUPPORTED = {
    "pattern": _IN_THE_PROMPT,
    "patternProperties": "Name the properties, or use additionalProperties.",
    "propertyNames": "Name the properties, or use additionalProperties.",
    "not": _IN_THE_PROMPT,
    "if": "Use anyOf.",
    "dependentSchemas": "Use anyOf.",
    "dependentRequired": "Use anyOf.",
    "dependencies": "Use anyOf.",
    "contains": _IN_THE_PROMPT,
    "minContains": _IN_THE_PROMPT,
    "maxContains": _IN_THE_PROMPT,
    "uniqueItems": "Leave it out, and check the answer.",
    "unevaluatedProperties": "Use additionalProperties: false.",
    "unevaluatedItems": "Use items: false.",
    "$dynamicRef": "Use $ref.",
    "$recursiveRef": "Use $ref.",
    "x-guidance": None,
}
_FORMATS = (
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri",
)  # fmt: skip


class SchemaBounds:
    """Counts over all schemas of one request."""

    def __init__(self) -> None:
        self._subschemas = 0
        self._properties = 0
        self._values = 0
        self._branches = 0
        self._items = 0.0

    def check(self, schema: Any, param: str) -> None:
        """Raises BadRequest. `param` names `schema` in the request."""
        pointers: set[Pointer] = set()
        references: list[tuple[str, str]] = []
        for sub in subschemas(Subschema(schema, (), param)):
            self._subschemas += 1
            _check_most(self._subschemas, limits.MAX_SCHEMA_PLACES, param, "schemas within them")
            pointers.add(sub.pointer)
            if isinstance(sub.schema, dict):
                self._check_subschema(sub, is_root=not sub.pointer)
                if "$ref" in sub.schema:
                    references.append((sub.schema["$ref"], f"{sub.param}.$ref"))
        for reference, where in references:
            if pointer_of(reference) not in pointers:
                raise _refuse(
                    where,
                    "it must point to a schema within this one",
                    hint="Write it as #/$defs/NAME, with the schema in $defs.",
                )

    def _check_subschema(self, sub: Subschema, *, is_root: bool) -> None:
        schema = sub.schema
        for keyword, hint in _UNSUPPORTED.items():
            if keyword in schema:
                raise _refuse(f"{sub.param}.{keyword}", "this keyword is not supported", hint=hint)
        if not is_root and isinstance(schema.get("$id", schema.get("id")), str):
            raise _refuse(sub.param, "only the whole schema may have an $id")
        _check_format(sub)
        _check_multiple(sub)
        _check_property_counts(sub)
        self._count(sub)

    def _count(self, sub: Subschema) -> None:
        schema, param = sub.schema, sub.param
        self._properties += max(_size(schema.get("properties")), _size(schema.get("required")))
        _check_most(self._properties, limits.MAX_SCHEMA_PROPERTIES, f"{param}.properties", "properties")
        self._values += _size(schema.get("enum"))
        _check_most(self._values, limits.MAX_SCHEMA_VALUES, f"{param}.enum", "values in enums")
        for keyword in SCHEMA_LISTS:
            self._branches += _size(schema.get(keyword)) if isinstance(schema.get(keyword), list) else 0
            _check_most(self._branches, limits.MAX_SCHEMA_BRANCHES, f"{param}.{keyword}", "alternatives")
        for keyword in ("minItems", "maxItems"):
            self._items += min(_number(schema.get(keyword)), limits.MAX_SCHEMA_ITEMS + 1)
            what = "items, by minItems and maxItems together"
            _check_most(self._items, limits.MAX_SCHEMA_ITEMS, f"{param}.{keyword}", what)


def _check_format(sub: Subschema) -> None:
    given = sub.schema.get("format")
    if given is not None and given not in _FORMATS:
        raise _refuse(f"{sub.param}.format", f"it must be one of {', '.join(_FORMATS)}")


def _check_multiple(sub: Subschema) -> None:
    """`multipleOf` needs an automaton with as many states as the number, written without its point."""
    given, param = sub.schema.get("multipleOf"), f"{sub.param}.multipleOf"
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _refuse(param, "it must be a number")
    # Not `normalize`, which rounds to 28 digits.
    digits = "".join(map(str, Decimal(str(given)).as_tuple().digits)).rstrip("0")
    if int(digits or "0") > limits.MAX_SCHEMA_MULTIPLE:
        most = limits.MAX_SCHEMA_MULTIPLE
        raise _refuse(param, f"its digits, without trailing zeros, must be at most {most}")


def _check_property_counts(sub: Subschema) -> None:
    schema = sub.schema
    properties, required = schema.get("properties"), schema.get("required")
    named = set(properties) if isinstance(properties, dict) else set()
    if named <= {name for name in (required if isinstance(required, list) else []) if isinstance(name, str)}:
        return
    for keyword in ("minProperties", "maxProperties"):
        count = schema.get(keyword)
        if count is None or (keyword == "minProperties" and count == 0):
            continue
        if keyword == "minProperties" and count == 1 and schema.get("additionalProperties") is False:
            continue
        raise _refuse(
            f"{sub.param}.{keyword}",
            "it is supported only if every name in `properties` is also in `required`",
            hint="Leave it out, or use anyOf with the names that are required in each case.",
        )


def _check_most(count: float, most: int, param: str, what: str) -> None:
    if count > most:
        raise BadRequest(
            f"Invalid value for '{param}': the schemas have more than {most} {what}.",
            param=param,
            code="schema_too_large",
            hint="Send a smaller schema, or fewer tools at a time.",
        )


def _refuse(param: str, why: str, *, hint: str | None = None) -> BadRequest:
    return BadRequest(
        f"Invalid value for '{param}': {why}.", param=param, code="schema_unsupported", hint=hint
    )


def _size(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and value > 0 else 0
