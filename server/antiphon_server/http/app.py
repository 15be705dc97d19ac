"""The ASGI application: its routes, the middleware around them, and the translation of errors."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match

from antiphon_executor.interface.errors import EngineError
from antiphon_server.chat.service import Service
from antiphon_server.config.settings import ServerSettings
from antiphon_server.errors import ApiError
from antiphon_server.http.body_limits import BodyLimits, HeadLimits
from antiphon_server.http.body_type import BodyTypes
from antiphon_server.http.error_response import error_of, response_of
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.middleware import (
    ApiKeys,
    GatewayHeaders,
    ProbeReserve,
    ReadinessGate,
    RequestIds,
    UnexpectedErrors,
)
from antiphon_server.http.origins import OriginCheck
from antiphon_server.http.realtime.registry import RealtimeRegistry
from antiphon_server.http.routes import (
    chat,
    completions,
    docs,
    files,
    health,
    models,
    realtime,
    responses,
    speech,
    tokenize,
    transcriptions,
    voices,
)
from antiphon_server.http.routes.way_finding import no_route
from antiphon_server.http.streaming.late_answers import LateAnswers
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.page import routes as page
from antiphon_server.realtime.client_secrets import ClientSecrets
from antiphon_server.version import VERSION

_MODULES = (
    chat,
    responses,
    completions,
    tokenize,
    speech,
    transcriptions,
    realtime,
    files,
    models,
    voices,
    health,
    docs,
)


def _heads(routes: Iterable[BaseRoute]) -> tuple[BaseRoute, ...]:
    """HEAD on every path with GET, for monitors. FastAPI, unlike Starlette, does not add it."""
    return tuple(
        APIRoute(
            route.path,
            route.endpoint,
            methods=["HEAD"],
            response_class=route.response_class,
            include_in_schema=False,
        )
        for route in routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    )


# Applications share these: `include_router` would make each route anew, which takes 15 ms.
_ROUTES = tuple(route for module in _MODULES for route in module.router.routes)
_HEADS = _heads(_ROUTES)
_PAGE, _PAGE_HEADS = tuple(page.router.routes), _heads(page.router.routes)
_PATHS = tuple(route.path for route in _ROUTES if isinstance(route, APIRoute) and "{" not in route.path)
_CLIENT_CLOSED_REQUEST = 499
_TRANSLATED = (ApiError, EngineError, RequestValidationError, HTTPException)


def create_app(
    service: Service, lifecycle: Lifecycle | None = None, client_secrets: ClientSecrets | None = None
) -> FastAPI:
    """The application for `service`. Without a `lifecycle` it accepts work at once.

    Raises OSError if it gets no `client_secrets` and their signing key cannot be read.
    """
    life = lifecycle or Lifecycle()
    if client_secrets is None:
        client_secrets = ClientSecrets.from_file(service.settings.realtime.signing_key_file)
    app = FastAPI(
        title="Antiphon",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=layers(
            service.settings.server, service.metrics, life, _ROUTES, client_secrets, service.keys
        ),
        exception_handlers={**dict.fromkeys(_TRANSLATED, _answer), ClientDisconnect: _client_closed},
    )
    app.state.service = service
    app.state.lifecycle = life
    app.state.client_secrets = client_secrets
    app.state.realtime = RealtimeRegistry(service.settings.realtime)
    app.state.started_at_unix_s = int(time.time())  # noqa: TID251 - a time stamp
    if service.settings.server.page:
        app.router.routes += [*_ROUTES, *_PAGE, *_HEADS, *_PAGE_HEADS]
    else:
        app.router.routes += [*_ROUTES, *_HEADS]
    docs.describe(app)
    return app


def layers(
    server: ServerSettings,
    metrics: ServerMetrics,
    life: Lifecycle,
    routes: Iterable[BaseRoute] = (),
    client_secrets: ClientSecrets | None = None,
    keys: KeyRing | None = None,
) -> list[Middleware]:
    """The middleware, outermost first. `routes` declare which bodies they read. `keys`: of the settings."""
    keys = keys or KeyRing(key.get_secret_value() for key in server.api_keys)
    return [
        Middleware(RequestIds, metrics, server.timeouts.stalled_client_s),
        Middleware(ProbeReserve, server.root_path),
        Middleware(OriginCheck, server),
        Middleware(HeadLimits, server.limits),
        Middleware(ApiKeys, keys, server.root_path, client_secrets, _open_paths(server)),
        Middleware(GatewayHeaders, server.gateway),
        Middleware(ReadinessGate, life.refusal, server.root_path),
        Middleware(BodyTypes, routes),
        Middleware(BodyLimits, server.limits, server.timeouts),
        Middleware(UnexpectedErrors),
        Middleware(LateAnswers),
    ]


def _open_paths(server: ServerSettings) -> tuple[str, ...]:
    """Of pages, which ask for a key themselves: a browser sends none with them."""
    return (*docs.OPEN_PATHS, *(page.paths() if server.page else ()))


def _methods_at(request: Request) -> list[str]:
    """The methods of all routes with this path. HEAD goes without saying where there is GET."""
    app: FastAPI = request.app
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    found = [route.methods for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted(set().union(*found) - {"HEAD"})


async def _client_closed(request: Request, exc: Exception) -> Response:
    """Counted and logged, and sent to no client."""
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def _answer(request: Request, exc: Exception) -> Response:
    is_unknown = isinstance(exc, HTTPException) and exc.status_code == 404
    error = no_route(request.url.path, _PATHS) if is_unknown else error_of(exc)
    response = response_of(error, exc)
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        response.headers["allow"] = ", ".join(_methods_at(request))
    return response
