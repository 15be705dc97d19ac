"""Check of a body's media type and content coding against what its route reads.

A route reads JSON unless its `openapi_extra` documents another request body (forms); the limits on JSON do
not apply to such a body, so it needs its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_server.errors import ApiError, UnsupportedMediaType
from antiphon_server.http.refusal import refuse

JSON = "application/json"
MULTIPART = "multipart/form-data"
# In a route's `openapi_extra`, and the key of a request's state: the route reads the body as it arrives, and
# limits it itself.
STREAMED = "x-streamed-body"
# The key of a request's state that holds the media types that its route reads.
TYPES_READ = "body_types"


class BodyTypes:
    """Refuses (415) a body whose type the route does not read, and every compressed body."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute] = ()) -> None:
        self._app = app
        self._routes = tuple(routes)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        error = self._check(scope) if scope["type"] == "http" and _has_body(scope) else None
        if error is None:
            return self._app(scope, receive, send)
        return refuse(scope, receive, send, error)

    def _check(self, scope: Scope) -> ApiError | None:
        if any(coding.lower() != b"identity" for coding in _values(scope, b"content-encoding")):
            return UnsupportedMediaType(
                "compressed bodies are not read",
                code="unsupported_content_encoding",
                hint="send the body without Content-Encoding",
                headers={"accept-encoding": "identity"},
            )
        route = self._route_of(scope)
        # Without a matching route the answer is 404 or 405 for any body.
        if route is None:
            return None
        types = _types_read(route)
        state = scope.setdefault("state", {})
        state[TYPES_READ] = types
        state[STREAMED] = STREAMED in _extra(route)
        given = _values(scope, b"content-type")
        if len(given) == 1 and _is_one_of(given[0], types):
            return None
        # A web page can make a browser send a body without a type to any server. Programs may omit the type.
        if not given and types == (JSON,) and not _values(scope, b"origin"):
            return None
        expected = " or ".join(types)
        return UnsupportedMediaType(f"this route reads {expected}", hint=f"send 'Content-Type: {expected}'")

    def _route_of(self, scope: Scope) -> BaseRoute | None:
        return next((route for route in self._routes if route.matches(scope)[0] is Match.FULL), None)


def _types_read(route: BaseRoute) -> Sequence[str]:
    return tuple(_extra(route).get("requestBody", {}).get("content") or (JSON,))


def _extra(route: BaseRoute) -> Mapping[str, Any]:
    return getattr(route, "openapi_extra", None) or {}


def _is_one_of(content_type: bytes, types: Sequence[str]) -> bool:
    given = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    is_json = given.startswith("application/") and given.endswith("+json")
    return given in types or (is_json and JSON in types)


def _has_body(scope: Scope) -> bool:
    lengths = _values(scope, b"content-length")
    return bool(_values(scope, b"transfer-encoding")) or any(length.strip(b"0") for length in lengths)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value.strip() for given, value in scope["headers"] if given == name]
