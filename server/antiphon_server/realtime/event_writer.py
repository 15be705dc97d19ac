"""Server events as JSON objects, each with an id of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from antiphon_server.errors import ApiError
from antiphon_server.realtime.items import Event

MakeId = Callable[[str], str]


def random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


class EventWriter:
    """`make_id`: a new id for a prefix such as `item`."""

    def __init__(self, make_id: MakeId = random_id) -> None:
        self.make_id = make_id

    def event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "event_id": self.make_id("event"), **fields}

    def error(self, error: ApiError, event_id: str | None) -> Event:
        """`event_id`: of the client's event that caused it."""
        shown = {
            "type": error.type,
            "code": error.code,
            "message": error.message if error.hint is None else f"{error.message} {error.hint}",
            "param": error.param,
            "event_id": event_id,
        }
        return self.event("error", error=shown)
