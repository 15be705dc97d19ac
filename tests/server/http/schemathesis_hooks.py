"""A check of schemathesis's: a body that fits its schema is refused only for what a schema cannot say."""

from __future__ import annotations

import re

import schemathesis

# Rules between fields, which no schema says. For JSON Schema 5.0 is an integer.
_BETWEEN_FIELDS = re.compile(
    r"it needs|send either|exclude each other|is greater than|must be the opposite|should be a valid integer"
)
_OF_SCHEMAS = ("unsupported_parameter", "unknown_parameter", "missing_required_parameter", "invalid_json")


@schemathesis.check
def refusals_are_beyond_schemas(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code != 400:
        return
    error = response.json()["error"]
    assert error["code"] not in _OF_SCHEMAS, error
    assert not error["message"].startswith("Invalid value") or _BETWEEN_FIELDS.search(error["message"]), error
