"""Middleware on a request's head: ids, access log, API keys, readiness, unexpected errors. Pure ASGI.

Decisions use `scope["path"]`, never a URL rebuilt from headers. Paths that are not public need a key. Layers
that only check the head are plain functions: no frame of theirs is kept while the response runs.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from antiphon_server.admission.reservation import request_priority
from antiphon_server.config.settings import GatewaySettings
from antiphon_server.errors import ApiError, Unauthorized, Unavailable
from antiphon_server.http.connection import ARRIVED_S, CONNECTION_KIND
from antiphon_server.http.connections import ConnectionKind
from antiphon_server.http.direct_body import DIRECT_BODY, DirectBody
from antiphon_server.http.error_response import error_of
from antiphon_server.http.refusal import refuse
from antiphon_server.http.send_limit import ClientStalled, SendLimit
from antiphon_server.http.websocket.keys import given_keys
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.logging import request_id
from antiphon_server.observability.metrics import Outcome, ServerMetrics, route_of
from antiphon_server.observability.request_trace import end_span
from antiphon_server.realtime.client_secrets import ClientSecrets

PUBLIC_PATHS = ("/livez", "/readyz", "/ping")
_WORK = ("/v1/", "/tokenize", "/detokenize")
# The key of a request's state: sends the body of the response past the layers inside `RequestIds`. They look
# at the response's head only, and an answer's body may be thousands of messages.
SEND_BODY = "send_body"
# The key of a request's state: the tenant that a trusted gateway names.
TENANT = "tenant"
_FAIRNESS_ID = b"x-gateway-inference-fairness-id"
_OBJECTIVE = b"x-gateway-inference-objective"
# Of a request's state: the `Grant` of the client secret that it was opened with.
GRANT = "grant"
_CONNECTION_RETRY_S = 2.0

_log = logging.getLogger("antiphon.access")
_SAFE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"),)


class RequestIds:
    """Outermost: gives each request an id (`x-request-id`), logs one line and counts the outcome."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: ServerMetrics,
        stalled_client_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._stalled_client_s = stalled_client_s
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        identity = _client_id(scope) or f"req_{secrets.token_hex(12)}"
        state = scope.setdefault("state", {})
        state["request_id"] = identity
        arrived_s: float = state.setdefault(ARRIVED_S, self._clock())
        request_id.set(identity)
        response = _Response(send, identity, self._stalled_client_s)
        state[SEND_BODY] = response.send
        try:
            await self._app(scope, receive, response.send)
        except ClientStalled:
            pass
        finally:
            response.close()
            self._account(scope, response, self._clock() - arrived_s)

    def _account(self, scope: Scope, response: _Response, seconds: float) -> None:
        if response.stalled:
            self._metrics.request_aborted("stalled_client")
        outcome = response.outcome
        end_span(None if outcome == "ok" else outcome)
        direct: DirectBody | None = scope["state"].get(DIRECT_BODY)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith("/v1/"):
            self._metrics.request_finished(outcome, route_of(path), seconds)
        fields = {
            "method": scope.get("method", "WEBSOCKET"),
            "path": scope["path"][:256],
            "status": response.status,
            "outcome": outcome,
            "ms": round(seconds * 1000, 1),
            "bytes": response.sent_bytes + (direct.sent_bytes if direct is not None else 0),
        }
        _log.log(
            logging.DEBUG if scope["path"] in PUBLIC_PATHS else logging.INFO,
            "request",
            extra={"fields": fields},
        )


class _Response:
    """Sends the response with our headers, and records its status and size."""

    def __init__(self, send: Send, identity: str, stalled_client_s: float) -> None:
        self._send = send
        self._limit = SendLimit(stalled_client_s)
        self._headers = ((b"x-request-id", identity.encode()), *_SECURITY_HEADERS)
        self.status = 0
        self.sent_bytes = 0
        self.complete = False

    @property
    def stalled(self) -> bool:
        return self._limit.expired

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        elif message["type"] in ("websocket.accept", "websocket.close"):
            # An accepted one was answered, however its client leaves.
            self.complete = True
        await self._limit.wait_for(self._send(message))

    def close(self) -> None:
        self._limit.close()

    @property
    def outcome(self) -> Outcome:
        match self.status:
            case 429:
                return "rejected"
            case 503:
                return "unavailable"
            case status if status >= 500:
                return "fault"
            case status if status >= 400:
                return "client_error"
        return "ok" if self.complete else "aborted"


class ProbeReserve:
    """Refuses all but `PUBLIC_PATHS` on connections in the reserve."""

    def __init__(self, app: ASGIApp, root_path: str = "") -> None:
        self._app = app
        self._public = _public_paths(root_path)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        in_reserve = scope.get("state", {}).get(CONNECTION_KIND) is ConnectionKind.PROBES
        if not in_reserve or scope["path"] in self._public:
            return self._app(scope, receive, send)
        error = Unavailable(
            "too many connections are open", code="too_many_connections", retry_after_s=_CONNECTION_RETRY_S
        )
        return refuse(scope, receive, send, error)


class ApiKeys:
    """Requires a valid key for all but `PUBLIC_PATHS`. Without configured keys every request passes.

    `client_secrets`: those that it accepts too, for WebSockets. `open_paths`: more that need no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: KeyRing,
        root_path: str = "",
        client_secrets: ClientSecrets | None = None,
        open_paths: Iterable[str] = (),
    ) -> None:
        self._app = app
        self._client_secrets = client_secrets
        self._keys = keys
        self._public = _public_paths(root_path, (*PUBLIC_PATHS, *open_paths))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] not in ("http", "websocket") or self._keys.is_empty or scope["path"] in self._public:
            return self._app(scope, receive, send)
        error = self._check(scope)
        if error is None:
            return self._app(scope, receive, send)
        return refuse(scope, receive, send, error)

    def _check(self, scope: Scope) -> ApiError | None:
        given = given_keys(scope)
        if not given:
            return Unauthorized(
                "no API key given", code="missing_api_key", hint="send 'Authorization: Bearer <key>'"
            )
        known = self._keys.knows(hashlib.sha256(given[0].encode("latin-1", "replace")).hexdigest())
        if len(given) == 1 and (known or self._is_client_secret(scope, given[0])):
            return None
        return Unauthorized("this API key is not valid")

    def _is_client_secret(self, scope: Scope, key: str) -> bool:
        """They open realtime connections only, while the key that made them is valid.

        Read once: a second reading may find it expired.
        """
        if scope["type"] != "websocket" or self._client_secrets is None:
            return False
        grant = self._client_secrets.read(key)
        if grant is None or not self._keys.owns(grant.owner):
            return False
        scope.setdefault("state", {})[GRANT] = grant
        return True


class GatewayHeaders:
    """Takes a request's tenant and priority from the headers of a trusted gateway."""

    def __init__(self, app: ASGIApp, gateway: GatewaySettings) -> None:
        self._app = app
        self._gateway = gateway

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._gateway.trusted and scope["type"] in ("http", "websocket"):
            headers = dict(scope["headers"])
            scope["state"][TENANT] = headers.get(_FAIRNESS_ID, b"").decode("latin-1")
            objective = headers.get(_OBJECTIVE, b"").decode("latin-1")
            request_priority.set(self._gateway.priority_of(objective))
        return self._app(scope, receive, send)


class ReadinessGate:
    """Refuses new work while `closed` returns a reason. Probes, metrics and documentation stay available."""

    def __init__(self, app: ASGIApp, closed: Callable[[], ApiError | None], root_path: str = "") -> None:
        self._app = app
        self._closed = closed
        self._work = tuple(f"{root_path.rstrip('/')}{path}" for path in _WORK)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        works = scope["type"] in ("http", "websocket") and scope["path"].startswith(self._work)
        error = self._closed() if works else None
        if error is None:
            return self._app(scope, receive, send)
        return refuse(scope, receive, send, error)


class UnexpectedErrors:
    """Innermost: an unhandled exception becomes an opaque 500 and a log entry with the request's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in ("http.response.start", "websocket.accept")
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except (ClientStalled, ClientDisconnect, ClientDisconnected):
            return
        except Exception as error:
            fault = error_of(error)
            if fault.status >= 500:
                _log.exception("request failed")
            if not started and scope["type"] == "http":
                await refuse(scope, receive, send, fault)


def _public_paths(root_path: str, paths: Iterable[str] = PUBLIC_PATHS) -> frozenset[str]:
    return frozenset(f"{root_path.rstrip('/')}{path}" for path in paths)


def _client_id(scope: Scope) -> str | None:
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return given[0].decode() if len(given) == 1 and _SAFE_ID.fullmatch(given[0]) else None
