"""Check of the Host and Origin headers, and CORS headers for allowed origins. Pure ASGI, on the head alone.

A server without a key trusts every program that can connect. A web page can make a browser connect directly,
or by a DNS name that its owner points to this machine, so both headers are checked then.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_server.config.addresses import is_loopback
from antiphon_server.config.settings import ServerSettings
from antiphon_server.errors import ApiError, Forbidden
from antiphon_server.http.refusal import refuse

ANY_ORIGIN = "*"

_EXPOSED = (
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    *(
        f"x-ratelimit-{what}-{name}"
        for what in ("limit", "remaining", "reset")
        for name in ("tokens", "audio-seconds")
    ),
)
_PORT = re.compile(r":[0-9]*$")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class OriginCheck:
    """With API keys only CORS headers are added: a page needs the key, which its user types."""

    def __init__(self, app: ASGIApp, server: ServerSettings) -> None:
        self._app = app
        self._allowed = frozenset(server.allowed_origins)
        self._open_to_pages = CORSMiddleware(
            app,
            allow_origins=server.allowed_origins,
            allow_methods=("*",),
            allow_headers=("*",),
            allow_private_network=True,
            expose_headers=_EXPOSED,
        )
        self._check: Callable[[Scope], ApiError | None] = _pass if server.api_keys else self._check_keyless
        self._own_names_only = is_loopback(server.host)
        self._own_name = server.host.strip("[]").lower()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] not in ("http", "websocket"):
            return self._app(scope, receive, send)
        if error := self._check(scope):
            return refuse(scope, receive, send, error)
        if any(self._names(origin) for origin in _values(scope, b"origin")):
            return self._open_to_pages(scope, receive, send)
        return self._app(scope, receive, send)

    def _check_keyless(self, scope: Scope) -> ApiError | None:
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if self._own_names_only and not all(self._is_own(host) for host in hosts):
            return Forbidden(
                "this server has no API key and answers only under this machine's own names, "
                "such as localhost and 127.0.0.1",
                code="host_not_allowed",
                hint="connect to 127.0.0.1, or start the server with an API key",
            )
        for origin in origins:
            if not (self._names(origin) or any(_is_same(origin, host) for host in hosts)):
                return Forbidden(
                    "this server has no API key and accepts no requests from pages of other sites",
                    code="origin_not_allowed",
                    hint="start the server with --allowed-origins and the page's origin, or with an API key",
                )
        return None

    def _names(self, origin: str) -> bool:
        return origin in self._allowed or ANY_ORIGIN in self._allowed

    def _is_own(self, host: str) -> bool:
        name = _PORT.sub("", host).strip("[]").removesuffix(".").lower()
        if name in ("localhost", self._own_name) or name.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _is_same(origin: str, host: str) -> bool:
    scheme, _, place = origin.partition("://")
    usual = _DEFAULT_PORTS.get(scheme, "")
    return bool(place) and place.lower().removesuffix(usual) == host.lower().removesuffix(usual)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.strip().decode("latin-1") for given, value in scope["headers"] if given == name]


def _pass(_: Scope) -> None:
    return None
