"""What routes read of a request: its whole body, the body's schema, and the owner of its key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from antiphon_server.chat.service import Service

T = TypeVar("T")

_CLIENT_CLOSED_REQUEST = 499
# Larger bodies contain media or long text and take milliseconds to parse, which would block the event loop.
_SMALL_BODY_BYTES = 32_768


def json_body_of(path: str, model: type[BaseModel]) -> dict[str, Any]:
    """The `openapi_extra` of `POST path`, whose body the route parses itself.

    The schema keeps its definitions beside it.
    """
    at = f"#/paths/{path.replace('/', '~1')}/post/requestBody/content/application~1json/schema"
    schema = model.model_json_schema(ref_template=f"{at}/$defs/{{model}}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read_body(request: Request) -> bytes | None:
    """The body; None if the client has left. `request.body()` would keep it as long as the answer takes."""
    try:
        return b"".join([piece async for piece in request.stream()])
    except ClientDisconnect:
        return None


async def parsed(body: bytes, parse: Callable[[bytes], T]) -> T:
    """What `parse` makes of `body`: at once if it is small, else in a thread. Raises BadRequest."""
    return parse(body) if len(body) <= _SMALL_BODY_BYTES else await asyncio.to_thread(parse, body)


def client_closed() -> Response:
    """Counted and logged, and sent to no client."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


def owner_of(request: Request, service: Service) -> str | None:
    """A hash of the key. Keys do not share a prefix cache: response times would reveal others' prompts."""
    if not service.settings.server.api_keys:
        return None
    # Only the key, as `ApiKeys` reads it: a key has one place in the queue for any spelling of the header.
    _, _, key = request.headers.get("authorization", "").partition(" ")
    return hashlib.sha256(key.strip().encode()).hexdigest()
