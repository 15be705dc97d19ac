"""Which bodies a route reads: their media type, declared by the route's own schema, and no content coding.

In: a head. Out: the request goes on, or 415. A route reads JSON unless its `openapi_extra` documents
another request body (forms); such a body is exempt from the limits on JSON and needs its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon_server.errors import ApiError, UnsupportedMediaType
from antiphon_server.http.refusal import refuse

JSON = "application/json"
# In a request's state: the media types that its route reads.
TYPES_READ = "body_types"


class BodyTypes:
    """Refuses a body that the route would have to guess at."""

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute] = ()) -> None:
        self._app = app
        self._routes = tuple(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._check(scope) if scope["type"] == "http" and _has_body(scope) else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send, error)

    def _check(self, scope: Scope) -> ApiError | None:
        if any(coding.lower() != b"identity" for coding in _values(scope, b"content-encoding")):
            return UnsupportedMediaType(
                "compressed bodies are not read",
                code="unsupported_content_encoding",
                hint="send the body without Content-Encoding",
                headers={"accept-encoding": "identity"},
            )
        types = self._types_of(scope)
        # Without a route the answer is 404 or 405, whatever was sent.
        if types is None:
            return None
        scope.setdefault("state", {})[TYPES_READ] = types
        given = _values(scope, b"content-type")
        if len(given) == 1 and _is_one_of(given[0], types):
            return None
        # Pages can make a browser send a body of no type anywhere; programs may leave the type out.
        if not given and types == (JSON,) and not _values(scope, b"origin"):
            return None
        expected = " or ".join(types)
        return UnsupportedMediaType(f"this route reads {expected}", hint=f"send 'Content-Type: {expected}'")

    def _types_of(self, scope: Scope) -> Sequence[str] | None:
        for route in self._routes:
            if route.matches(scope)[0] is Match.FULL:
                return _types_read(route)
        return None


def _types_read(route: BaseRoute) -> Sequence[str]:
    declared = (getattr(route, "openapi_extra", None) or {}).get("requestBody", {}).get("content")
    return tuple(declared or (JSON,))


def _is_one_of(content_type: bytes, types: Sequence[str]) -> bool:
    given = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    is_json = given.startswith("application/") and given.endswith("+json")
    return given in types or (is_json and JSON in types)


def _has_body(scope: Scope) -> bool:
    lengths = _values(scope, b"content-length")
    return bool(_values(scope, b"transfer-encoding")) or any(length.strip(b"0") for length in lengths)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value.strip() for given, value in scope["headers"] if given == name]
