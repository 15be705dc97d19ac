"""The structured-output backend for JSON schemas (llguidance), and the form in which it gets a schema.

With vLLM's "auto" the first request would choose the backend for all others. llguidance computes token masks
on demand, so compile time grows with the schema, not with automaton states times vocabulary as in xgrammar.
"""

from __future__ import annotations

import json
from typing import Literal

BACKEND: Literal["guidance"] = "guidance"

# `oneOf` is treated as `anyOf`: llguidance cannot always prove that branches of a tagged union are exclusive.
_OPTIONS = {"coerce_one_of": True}


def guidance_schema(schema: str) -> str:
    """The schema as it is passed to vLLM. `schema`: JSON of an object, or `true` or `false`.

    Its own options of llguidance are kept; clients cannot set any.
    """
    parsed = json.loads(schema)
    if not isinstance(parsed, dict):
        return schema
    return json.dumps({**parsed, "x-guidance": {**_OPTIONS, **parsed.get("x-guidance", {})}})
