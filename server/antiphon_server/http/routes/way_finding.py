"""Hints for a path that no route has: a missing /v1, a slash at the end, a near miss."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from antiphon_server.errors import NotFound

_MAX_PATH = 256
_PREFIX = "/v1"
_DOCS = "The routes are listed at /docs."


def no_route(path: str, known: Sequence[str]) -> NotFound:
    """The error for `path`. `known`: the paths of all routes. Only they are repeated, never `path` itself."""
    return NotFound("no route matches this path", hint=_hint(path[:_MAX_PATH], known))


def _hint(path: str, known: Sequence[str]) -> str:
    if path == "/":
        return f"The API's base URL ends in {_PREFIX}. {_DOCS}"
    bare = path.rstrip("/") or "/"
    if bare in known:
        return f"Did you mean {bare}, without a slash at the end?"
    without = bare.removeprefix(_PREFIX)
    if bare != without and without.startswith(f"{_PREFIX}/") and without in known:
        return f"Did you mean {without}? The path has {_PREFIX} twice."
    if f"{_PREFIX}{bare}" in known:
        return f"Did you mean {_PREFIX}{bare}? The client's base URL has to end in {_PREFIX}."
    close = difflib.get_close_matches(bare.lower(), known, n=1, cutoff=0.75)
    return f"Did you mean {close[0]}? {_DOCS}" if close else _DOCS
