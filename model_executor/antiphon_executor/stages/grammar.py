"""How answers are held to a JSON schema: which of vLLM's backends does it, and how it reads a schema.

The backend is fixed: with vLLM's "auto" the first request after a start chooses one for all later ones.
llguidance computes token masks as they are needed, within limits of its own, so that its compile time grows
with the schema's size; xgrammar's grows with automaton states times vocabulary.
"""

from __future__ import annotations

import json
from typing import Literal

BACKEND: Literal["guidance"] = "guidance"

# `oneOf` is read as `anyOf`: that the branches of a tagged union exclude each other cannot always be proved.
_READING = {"coerce_one_of": True}


def as_compiled(schema: str) -> str:
    """The schema as it goes to vLLM. `schema`: JSON of an object, or `true` or `false`."""
    read = json.loads(schema)
    if not isinstance(read, dict):
        return schema
    return json.dumps({**read, "x-guidance": _READING})
