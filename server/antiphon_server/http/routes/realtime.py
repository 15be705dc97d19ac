"""`/v1/realtime`: spoken conversations over a WebSocket, and the client secrets that open one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from antiphon_server.chat.service import Service
from antiphon_server.chat.voices import choose_voice
from antiphon_server.errors import ApiError, BadRequest, Unauthorized
from antiphon_server.http.middleware import GRANT
from antiphon_server.http.openapi.bodies import json_body
from antiphon_server.http.realtime.connection import RealtimeConnection
from antiphon_server.http.realtime.registry import RealtimeRegistry
from antiphon_server.http.refusal import refuse
from antiphon_server.http.routes.models import require_model, served_name
from antiphon_server.http.routes.request_body import owner_of_key, receive_json
from antiphon_server.http.websocket.keys import given_keys
from antiphon_server.observability.request_trace import client_headers
from antiphon_server.openai_api.realtime.client_secrets import (
    ClientSecret,
    ClientSecretRequest,
    parse_secret_request,
)
from antiphon_server.openai_api.realtime.session import Session
from antiphon_server.realtime.client_secrets import PREFIX, ClientSecrets, Grant, SecretTooLong
from antiphon_server.realtime.event_writer import random_id
from antiphon_server.realtime.machine import MachineLimits, RealtimeMachine
from antiphon_server.realtime.memory import MemoryAccount
from antiphon_server.realtime.response_spec import check_session
from antiphon_server.realtime.session_state import SessionIdentity, SessionState, first_session

router = APIRouter(tags=["realtime"])

_PATH = "/v1/realtime"
_SECRETS_PATH = "/v1/realtime/client_secrets"
_PROTOCOL = "realtime"


@router.websocket(_PATH)
async def converse(socket: WebSocket) -> None:
    service: Service = socket.app.state.service
    registry: RealtimeRegistry = socket.app.state.realtime
    try:
        grant = _grant_of(socket, service)
        session = _first_session(socket, service, grant)
        registry.check_room(grant.owner)
    except ApiError as error:
        await refuse(socket.scope, socket.receive, socket.send, error)
        return
    client_headers.set(socket.headers)
    with registry.enter(grant.owner):
        await socket.receive()
        protocol = _PROTOCOL if _PROTOCOL in socket.scope.get("subprotocols", ()) else None
        await socket.accept(subprotocol=protocol)
        unix_s = socket.app.state.client_secrets.unix_s()
        memory = MemoryAccount(registry.memory, grant.owner or "")
        machine = _machine_of(session, service, grant.owner, unix_s, memory)
        life = socket.app.state.lifecycle
        connection = RealtimeConnection(machine, service, life, grant.owner, socket.receive, socket.send)
        try:
            await connection.run()
        finally:
            memory.close()


@router.get(_PATH, include_in_schema=False)
async def refuse_plain_http() -> None:
    """A proxy that drops the headers of an upgrade asks like this."""
    raise BadRequest(
        "This path is a WebSocket.",
        code="websocket_required",
        hint="Connect with ws:// or wss://. A proxy must pass on the headers Connection and Upgrade.",
    )


def _grant_of(socket: WebSocket, service: Service) -> Grant:
    """What the connection's key allows; the middleware has checked it. Raises Unauthorized.

    A server without keys accepts any, but a client secret promises a session.
    """
    grant: Grant | None = socket.scope["state"].get(GRANT)
    if grant is not None:
        return grant
    keys = given_keys(socket.scope)
    if service.settings.server.api_keys or not keys or not keys[0].startswith(PREFIX):
        return Grant(owner_of_key(keys[0] if keys else "", service, socket.scope), 0, {})
    client_secrets: ClientSecrets = socket.app.state.client_secrets
    grant = client_secrets.read(keys[0])
    if grant is None:
        raise Unauthorized("this client secret is not valid, or has expired")
    return grant


def _first_session(socket: WebSocket, service: Service, grant: Grant) -> Session:
    """Raises BadRequest and NotFound."""
    query = socket.query_params
    for name, reason in (
        ("call_id", "there is no SIP or WebRTC"),
        ("intent", "use a session of conversation"),
    ):
        if name in query and not (name == "intent" and query[name] == "conversation"):
            message = f"Unsupported parameter: '{name}' is not supported by this server: {reason}."
            raise BadRequest(message, param=name, code="unsupported_parameter")
    require_model(service, query.get("model"))
    return _checked(grant.session, service)


def _checked(fields: dict[str, Any], service: Service) -> Session:
    """A first session with these fields. On a server without speech its default is text."""
    if not service.engine.card.speaks:
        fields = {"output_modalities": ["text"], **fields}
    voice = choose_voice(None, service.engine.card) if service.engine.card.speaks else None
    session = first_session(fields, voice)
    require_model(service, session.model)
    check_session(session, service)
    return session


def _identity(service: Service, unix_s: float) -> SessionIdentity:
    expires_at = int(unix_s + service.settings.realtime.session_s)
    return SessionIdentity(random_id("sess"), served_name(service), expires_at)


def _machine_of(
    session: Session, service: Service, owner: str | None, unix_s: float, memory: MemoryAccount
) -> RealtimeMachine:
    policy = service.settings.realtime
    limits = MachineLimits(
        items=policy.items,
        media_bytes=policy.media_bytes,
        turn_s=min(policy.turn_s, service.settings.media.audio_seconds),
        interrupt_ms=policy.interrupt_min_ms,
    )
    identity = _identity(service, unix_s)
    return RealtimeMachine(
        identity,
        session,
        lambda asked: check_session(asked, service),
        limits,
        owner or "",
        memory=memory,
    )


@router.post(
    _SECRETS_PATH,
    summary="Make a short-lived key for a realtime connection",
    response_model=ClientSecret,
    openapi_extra=json_body(ClientSecretRequest, required=False),
)
async def create_client_secret(request: Request) -> Response:
    """For browsers. The secret opens connections until it expires; `session` is their first state."""
    received = await receive_json(request, parse_secret_request)
    asked, service = received.asked, received.service
    client_secrets: ClientSecrets = request.app.state.client_secrets
    session = _checked(asked.session, service)
    expires_at = int(client_secrets.unix_s()) + asked.expires_after.seconds
    grant = Grant(received.owner, expires_at, asked.session)
    try:
        value = client_secrets.make(grant)
    except SecretTooLong:
        raise BadRequest(
            "The session is too long to be part of a client secret.",
            param="session",
            hint="Send long instructions and tools with session.update.",
        ) from None
    identity = _identity(service, client_secrets.unix_s())
    shown = SessionState(identity, session, lambda _: None).show()
    return JSONResponse({"value": value, "expires_at": expires_at, "session": shown})
