"""The beginning of every route with a body: its trace, the reading of JSON, and the owner of the key."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from fastapi import Request
from starlette.types import Scope

from antiphon_server.chat.service import Service, span_values
from antiphon_server.http.body_limits import BUFFERED_BODY, BufferedBody
from antiphon_server.http.middleware import TENANT
from antiphon_server.observability.metrics import route_of
from antiphon_server.observability.request_trace import (
    RequestTrace,
    client_headers,
    current,
    mark,
    new_trace,
)

T = TypeVar("T")

# Larger bodies contain media or long text and take milliseconds to parse, which would block the event loop.
_SMALL_BODY_BYTES = 32_768
# The engine takes owners of up to 128 characters.
_TENANT_CHARS = 32


@dataclass(frozen=True, slots=True)
class Received(Generic[T]):
    """A request whose body has been read, as `asked`. `owner`: a hash of its key; None if no key is needed.

    `arrived_s`: when its first byte came. `rates`: headers with the rest of the key's rate limits.
    """

    asked: T
    service: Service
    owner: str | None
    arrived_s: float
    release_body: Callable[[], None]
    rates: Callable[[], Mapping[str, str]]


async def receive_json(request: Request, parse: Callable[[bytes], T]) -> Received[T]:
    """Reads the body and parses it. Raises BadRequest, and ClientDisconnect if the client has left."""
    begin_trace(request)
    # `request.body()` would keep it as long as the answer takes.
    body = b"".join([piece async for piece in request.stream()])
    note_upload(request)
    asked = parse(body) if len(body) <= _SMALL_BODY_BYTES else await asyncio.to_thread(parse, body)
    return received(request, asked)


def received(request: Request, asked: T) -> Received[T]:
    service: Service = request.app.state.service
    owner = owner_of(request, service)
    rates = partial(service.admission.rates.headers, owner or "")
    body: BufferedBody = request.scope["state"][BUFFERED_BODY]
    return Received(asked, service, owner, request.state.arrived_s, body.release, rates)


def begin_trace(request: Request) -> None:
    """From here on the marks of this request are kept, if the setting is on."""
    service: Service = request.app.state.service
    client_headers.set(request.headers)
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    values = {**span_values(service), "antiphon.request_id": request.state.request_id}
    is_logged = service.settings.logs.milestones
    current.set(
        new_trace(route_of(path), values, request.state.arrived_s, service.spans, is_logged=is_logged)
    )


def keep_trace(request: Request) -> None:
    """The marks of this request are kept for its client, if they are not kept already."""
    if current.get() is None:
        trace = RequestTrace(request.state.arrived_s, is_logged=False)
        trace.mark("body_read", request.state.body_read_s)
        current.set(trace)


def note_upload(request: Request) -> None:
    """The whole body has arrived."""
    service: Service = request.app.state.service
    request.state.body_read_s = time.monotonic()
    mark("body_read")
    service.metrics.request_uploaded(time.monotonic() - request.state.arrived_s)


def owner_of(request: Request, service: Service) -> str | None:
    """A hash of the key. Keys do not share a prefix cache: response times would reveal others' prompts."""
    # Only the key, as `ApiKeys` reads it: a key has one place in the queue for any spelling of the header.
    _, _, key = request.headers.get("authorization", "").partition(" ")
    return owner_of_key(key.strip(), service, request.scope)


def owner_of_key(key: str, service: Service, scope: Scope) -> str | None:
    """As `owner_of`, with the tenant that a gateway names. None if the server has no keys and no gateway."""
    tenant: str = scope["state"].get(TENANT, "")
    parts = [hash_of_key(key)] if service.settings.server.api_keys else []
    if tenant:
        parts.append(hash_of_key(tenant)[:_TENANT_CHARS])
    return ":".join(parts) or None


def hash_of_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
