"""API keys on every route, request ids, and what a refusal reveals."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, WebSocketRoute

from antiphon_server.chat.service import Service
from antiphon_server.errors import Unavailable
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.middleware import PUBLIC_PATHS, ApiKeys
from antiphon_server.http.routes.docs import OPEN_PATHS
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service
from tests.server.raw_http import exchange, serving

pytestmark = pytest.mark.promise("R1", "R3", "R28")

KEY = "canary-key-91bd"
OTHER_KEY = "canary-key-second"
LEAKS = re.compile(r"0x[0-9a-f]{4,}|/home|/usr|/tmp|Traceback|File \"|canary|site-packages")


@pytest.fixture
def guarded(checkpoint: Path) -> Service:
    return make_service(checkpoint, server={"api_keys": [KEY, OTHER_KEY]})


def paths_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route; fails on an unknown kind of route."""

    def walk(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
        for route in routes:
            inner = getattr(route, "routes", None) or getattr(
                getattr(route, "original_router", None), "routes", None
            )
            if isinstance(route, APIRoute) or getattr(route, "methods", None):
                for method in route.methods or ():  # type: ignore[attr-defined]
                    yield method, re.sub(r"\{[^}]*\}", "x", route.path)  # type: ignore[attr-defined]
            elif isinstance(route, WebSocketRoute):
                yield "GET", route.path
            elif inner is not None and not isinstance(route, Mount):
                yield from walk(list(inner))
            else:
                raise AssertionError(f"what is {route!r}?")

    return walk(list(app.routes))


def test_the_walk_over_the_routes_finds_them(guarded: Service) -> None:
    found = {path for _, path in paths_of(create_app(guarded))}
    assert {
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/x",
        "/metrics",
        "/health",
        "/docs",
        "/openapi.json",
    } <= found
    assert set(PUBLIC_PATHS) <= found


async def ask(app: FastAPI, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.request(method, path, headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {KEY}x"},
        {"x-api-key": KEY},
        {"host": "evil/livez?"},
        {"host": "evil/livez#", "x-forwarded-prefix": "/livez", "x-original-url": "/livez"},
        {"x-forwarded-host": "evil/?", "forwarded": "host=evil/livez"},
    ],
)
async def test_no_route_but_probes_and_pages_answers_without_a_key(
    guarded: Service, headers: dict[str, str]
) -> None:
    app = create_app(guarded)
    for method, path in paths_of(app):
        response = await ask(app, method, path, headers)
        # The files of the two pages, and no other path below `/page/`.
        if path in (*PUBLIC_PATHS, *OPEN_PATHS, "/"):
            assert response.status_code in (200, 405), path
        else:
            assert response.status_code == 401, (method, path)
            assert method == "HEAD" or response.json()["error"]["type"] == "authentication_error"
            assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_either_key_opens(guarded: Service, key: str, scheme: str) -> None:
    response = await ask(create_app(guarded), "GET", "/v1/models", {"authorization": f"{scheme} {key}"})
    assert response.status_code == 200


OTHER_SPELLINGS = [
    "/v1/models",
    "//v1/models",
    "/v1/../v1/models",
    "/livez/../v1/models",
    "/livez/%2e%2e/v1/models",
    "/livez%2f..%2fv1%2fmodels",
    "/%2e/v1/models",
    "/livez/",
    "/livez;/v1/models",
    "/LIVEZ",
    "/livez%00",
    "/readyz//",
    "http://evil/v1/models",
    "http://evil/livez/../metrics",
    "/metrics?x=/livez",
    "/openapi.json#/livez",
]


@pytest.mark.parametrize("host", ["test", "evil/?", "evil/livez", ""])
async def test_no_spelling_of_a_path_gets_around_the_key(guarded: Service, host: str) -> None:
    async with serving(create_app(guarded), guarded.settings.server) as port:
        for target in OTHER_SPELLINGS:
            answer = await exchange(port, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert answer.status in (400, 401), target
            kinds = ("authentication_error", "invalid_request_error")
            assert json.loads(answer.body)["error"]["type"] in kinds


async def test_the_probes_need_no_key(guarded: Service) -> None:
    async with serving(create_app(guarded), guarded.settings.server) as port:
        for target in ("/livez", "/livez?x=1", "/%6civez", "/readyz"):
            answer = await exchange(port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.status == 200, target


async def test_behind_a_path_prefix_the_same_paths_are_public_and_no_others(checkpoint: Path) -> None:
    service = make_service(checkpoint, server={"api_keys": [KEY], "root_path": "/omni"})
    wanted = {"/livez": 200, "/readyz": 200, "/v1/models": 401, "/omni/livez": 401, "/metrics": 401}
    async with serving(create_app(service), service.settings.server) as port:
        for target, status in wanted.items():
            answer = await exchange(port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answer.status == status, target
        keyed = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        assert (await exchange(port, keyed)).status == 200


async def test_two_authorization_headers_are_one_too_many(guarded: Service) -> None:
    headers = f"Authorization: Bearer wrong\r\nAuthorization: Bearer {KEY}\r\n"
    swapped = f"Authorization: Bearer {KEY}\r\nAuthorization: Bearer wrong\r\n"
    async with serving(create_app(guarded), guarded.settings.server) as port:
        for lines in (headers, swapped):
            answer = await exchange(port, f"GET /v1/models HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
            assert answer.status == 401


@pytest.mark.parametrize("extensions", [{}, {"websocket.http.response": {}}])
async def test_a_websocket_without_a_key_is_never_accepted(
    guarded: Service, extensions: dict[str, Any]
) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/realtime", "headers": [], "extensions": extensions}
    await create_app(guarded)(scope, receive, send)
    assert not any(message["type"] == "websocket.accept" for message in sent)
    if extensions:
        assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 401)
    else:
        assert (sent[0]["type"], sent[0]["code"]) == ("websocket.close", 1008)


async def test_every_key_is_compared_in_constant_time_over_its_digest(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    real = hmac.compare_digest

    def watch(a: str, b: str) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr("antiphon_server.keys.key_ring.hmac.compare_digest", watch)
    layer = ApiKeys(create_app(guarded), guarded.keys)
    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    assert layer._check({"headers": headers}) is None
    given = hashlib.sha256(KEY.encode()).hexdigest()
    assert compared == [(given, hashlib.sha256(key.encode()).hexdigest()) for key in (KEY, OTHER_KEY)]


async def test_keys_are_in_no_log_and_no_answer(guarded: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = create_app(guarded)
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": "fine"}
    said = ""
    for method, path in paths_of(app):
        response = await ask(app, method, path, headers)
        said += response.text + str(response.headers)
        said += (await ask(app, method, path, {"authorization": f"Bearer {KEY}wrong"})).text
    assert KEY not in said
    assert KEY not in caplog.text


@pytest.mark.parametrize("given", ["a", "req-1.2:3_4", "x" * 128])
async def test_a_safe_request_id_comes_back(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/livez", headers={"x-request-id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "a;b", 'a"b', "é"])
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/livez", headers={"x-request-id": given.encode("latin-1")})  # type: ignore[dict-item]
    assert re.fullmatch(r"req_[0-9a-f]{24}", response.headers["x-request-id"])


async def test_errors_carry_the_request_id_too(guarded: Service) -> None:
    response = await ask(create_app(guarded), "GET", "/v1/models")
    assert response.status_code == 401
    assert response.headers["x-request-id"].startswith("req_")
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_an_unexpected_fault_is_opaque_and_stands_in_the_log_under_its_id(
    service: Service, engine: EchoEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError(f"cannot open /usr/lib/secret at 0xdeadbeef {KEY}")

    monkeypatch.setattr(engine, "status", broken)
    response = await ask(create_app(service), "GET", "/health")
    assert response.status_code == 500
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["error"]["code"] == "internal_error"
    assert not LEAKS.search(response.text)
    assert any(record.exc_info for record in caplog.records)


async def test_while_the_gate_is_closed_work_is_refused_and_probes_go_on(service: Service) -> None:
    life = Lifecycle("loading")
    app = create_app(service, life)
    refused = await ask(app, "POST", "/v1/chat/completions")
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "10"
    assert refused.headers["retry-after-ms"] == "10000"
    assert refused.headers["x-should-retry"] == "true"
    assert (await ask(app, "GET", "/livez")).status_code == 200
    posts = [route.path for route in app.routes if isinstance(route, APIRoute) and "POST" in route.methods]
    assert "/tokenize" in posts
    for path in posts:
        assert (await ask(app, "POST", path)).status_code == 503, path
    life.stage = "serving"
    assert (await ask(app, "GET", "/v1/models")).status_code == 200


def test_a_refusal_is_an_unavailable(service: Service) -> None:
    assert isinstance(Lifecycle("closed").refusal(), Unavailable)
    assert Lifecycle("draining").refusal() is None


async def test_the_outcome_of_a_request_is_counted_once(service: Service, client: httpx.AsyncClient) -> None:
    await client.get("/v1/models")
    await client.get("/v1/models/none")
    await client.get("/livez")
    text = service.metrics.render().decode()
    assert 'antiphon_requests_total{outcome="ok"} 1.0' in text
    assert 'antiphon_requests_total{outcome="client_error"} 1.0' in text
