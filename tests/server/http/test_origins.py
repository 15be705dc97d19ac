"""Browsers at a server without a key: DNS rebinding (Host), pages of other sites (Origin), and CORS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.config.settings import ServerSettings
from antiphon_server.config.sources import load
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.http.app import create_app
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.http.origins import OriginCheck
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.process.preflight import check_access
from antiphon_server.process.uvicorn_server import loading_app
from tests.server.parts import make_service
from tests.server.raw_http import Answer, exchange, serving
from tests.server.sink import error_of

pytestmark = pytest.mark.promise("R43")

PATHS = [
    "/v1/models",
    "/livez",
    "/readyz",
    "/health",
    "/metrics",
    "/docs",
    "/docs/docs.js",
    "/openapi.json",
    "/",
]
NAMED = "http://app.example:3000"


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", *headers, "", ""]).encode("latin-1")


@pytest.fixture(scope="module")
async def port(checkpoint: Path) -> Any:
    service = make_service(checkpoint)
    async with serving(create_app(service), service.settings.server) as port:
        yield port


async def ask(checkpoint: Path, request: bytes, **server: Any) -> Answer:
    service = make_service(checkpoint, server=server)
    settings = service.settings.server.model_copy(update={"host": "127.0.0.1"})
    async with serving(create_app(service), settings) as port:
        return await exchange(port, request)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "128.0.0.1",
        "10.0.0.1",
        "0.0.0.0",
        "[::2]:8000",
        "[::ffff:10.0.0.1]",
        "127.1",
        "2130706433",
        "",
        ":8000",
    ],
)
async def test_without_a_key_no_path_answers_under_a_foreign_host_name(port: int, host: str) -> None:
    for path in PATHS:
        answer = await exchange(port, get(path, f"Host: {host}"))
        assert (answer.status, error_of(answer)["code"]) == (403, "host_not_allowed"), path
    post = get("/v1/chat/completions", f"Host: {host}", "Content-Length: 0", method="POST")
    assert (await exchange(port, post)).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:1",
        "localhost.",
        "a.b.localhost:8000",
        "127.0.0.1:8000",
        "127.9.8.7",
        "[::1]",
        "[::1]:8000",
    ],
)
async def test_without_a_key_it_answers_under_this_machines_own_names(port: int, host: str) -> None:
    assert (await exchange(port, get("/v1/models", f"Host: {host}"))).status == 200


async def test_an_old_client_that_names_no_host_is_served(port: int) -> None:
    assert (await exchange(port, get("/v1/models", version="1.0"))).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "file://",
        "localhost:8000",
        "http://localhost:8000.evil.example",
        "chrome-extension://abcdef",
        NAMED,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_without_a_key_a_page_of_another_origin_gets_nothing(
    port: int, method: str, origin: str
) -> None:
    request = get("/v1/models", "Host: localhost:8000", f"Origin: {origin}", method=method)
    answer = await exchange(port, request)
    assert (answer.status, error_of(answer)["code"]) == (403, "origin_not_allowed")
    assert "--allowed-origins" in error_of(answer)["hint"]
    assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://localhost", "localhost:80"),
        ("http://localhost:80", "localhost"),
        ("https://a.localhost", "a.localhost"),
        ("https://a.localhost", "A.localhost:443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
async def test_the_servers_own_page_may_use_it(port: int, origin: str, host: str) -> None:
    answer = await exchange(port, get("/v1/models", f"Host: {host}", f"Origin: {origin}"))
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_a_second_origin_does_not_hide_behind_a_good_one(port: int) -> None:
    good, bad = "Origin: http://localhost", "Origin: http://evil.example"
    for both in ((good, bad), (bad, good)):
        assert (await exchange(port, get("/v1/models", "Host: localhost", *both))).status == 403


async def test_while_the_model_loads_the_same_holds() -> None:
    server = ServerSettings()
    app = loading_app(server, ServerMetrics("test"), Lifecycle("loading"))
    async with serving(app, server) as port:
        assert (await exchange(port, get("/livez", "Host: evil.example"))).status == 403
        assert (await exchange(port, get("/livez", "Host: localhost"))).status == 200


async def test_on_an_address_that_others_reach_any_host_passes_and_foreign_origins_do_not(
    checkpoint: Path,
) -> None:
    open_to_all = {"host": "0.0.0.0", "insecure": True}
    plain = get("/v1/models", "Host: omni.example:8000")
    assert (await ask(checkpoint, plain, **open_to_all)).status == 200
    foreign = get("/v1/models", "Host: omni.example:8000", "Origin: http://evil.example")
    assert (await ask(checkpoint, foreign, **open_to_all)).status == 403
    for other in ("null", "", "http://"):
        request = get("/v1/models", "Host:", f"Origin: {other}")
        assert (await ask(checkpoint, request, **open_to_all)).status == 403
    own = get("/v1/models", "Host: omni.example:8000", "Origin: http://omni.example:8000")
    assert (await ask(checkpoint, own, **open_to_all)).status == 200


async def test_the_configured_host_is_a_name_of_this_machine(checkpoint: Path) -> None:
    request = get("/v1/models", "Host: [0:0:0:0:0:0:0:1]:8000")
    assert (await ask(checkpoint, request, host="[0:0:0:0:0:0:0:1]")).status == 200


async def test_with_keys_neither_host_nor_origin_matters(checkpoint: Path) -> None:
    head = ("Host: evil.example", "Origin: http://evil.example", "Authorization: Bearer key")
    answer = await ask(checkpoint, get("/v1/models", *head), api_keys=["key"])
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


PREFLIGHT = (
    "Host: localhost:8000",
    f"Origin: {NAMED}",
    "Access-Control-Request-Method: POST",
    "Access-Control-Request-Headers: authorization,content-type,x-stainless-os",
    "Access-Control-Request-Private-Network: true",
)


@pytest.mark.parametrize("keys", [(), ("key",)], ids=["no key", "a key"])
async def test_a_named_origin_may_ask_first_and_read_the_answer(
    checkpoint: Path, keys: tuple[str, ...]
) -> None:
    settings = {"api_keys": keys, "allowed_origins": [NAMED]}
    first = await ask(checkpoint, get("/v1/chat/completions", *PREFLIGHT, method="OPTIONS"), **settings)
    assert first.status == 200
    assert first.headers["access-control-allow-origin"] == NAMED
    assert "POST" in first.headers["access-control-allow-methods"]
    assert "x-stainless-os" in first.headers["access-control-allow-headers"]
    assert first.headers["access-control-allow-private-network"] == "true"
    head = ("Host: localhost:8000", f"Origin: {NAMED}", "Authorization: Bearer key")
    answer = await ask(checkpoint, get("/v1/models", *head), **settings)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, NAMED)
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    unknown = await ask(checkpoint, get("/v1/none", *head), **settings)
    assert (unknown.status, unknown.headers["access-control-allow-origin"]) == (404, NAMED)


async def test_a_key_is_still_needed_by_a_named_origin(checkpoint: Path) -> None:
    request = get("/v1/models", "Host: localhost", f"Origin: {NAMED}")
    answer = await ask(checkpoint, request, api_keys=["key"], allowed_origins=[NAMED])
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, NAMED)


@pytest.mark.parametrize("keys", [(), ("key",)], ids=["no key", "a key"])
async def test_an_origin_that_is_not_named_gets_no_preflight(checkpoint: Path, keys: tuple[str, ...]) -> None:
    request = get("/v1/chat/completions", *PREFLIGHT, method="OPTIONS")
    answer = await ask(checkpoint, request, api_keys=keys, allowed_origins=["http://other.example"])
    assert answer.status in (401, 403)
    assert "access-control-allow-origin" not in answer.headers


async def test_all_origins_may_be_named_where_there_is_a_key(checkpoint: Path) -> None:
    head = ("Host: localhost", "Origin: http://any.example", "Authorization: Bearer key")
    answer = await ask(checkpoint, get("/v1/models", *head), api_keys=["key"], allowed_origins=["*"])
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    with pytest.raises(StartupError) as refused:
        check_access(ServerSettings(allowed_origins=("*",)))
    assert refused.value.code == ExitCode.INSECURE
    check_access(ServerSettings(allowed_origins=("*",), api_keys=("key",)))


async def test_a_websocket_of_another_site_is_never_accepted() -> None:
    reached: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    layer = OriginCheck(app, ServerSettings())
    headers = [(b"host", b"localhost"), (b"origin", b"http://evil.example")]
    await layer({"type": "websocket", "path": "/v1/realtime", "headers": headers}, receive, send)
    assert (reached, sent[0]["type"]) == ([], "websocket.close")
    await layer({"type": "lifespan"}, receive, send)
    assert reached == ["lifespan"]


def test_origins_come_from_flags_variables_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"engine.model": tmp_path}
    assert load({**model, "server.allowed_origins": [NAMED]}).settings.server.allowed_origins == (NAMED,)
    monkeypatch.setenv("ANTIPHON_ALLOWED_ORIGINS", f"{NAMED}, http://localhost:3000")
    assert load(model).settings.server.allowed_origins == (NAMED, "http://localhost:3000")
    monkeypatch.setenv("ANTIPHON_ALLOWED_ORIGINS", f"{NAMED}/page")
    with pytest.raises(StartupError, match="without a path"):
        load(model)


def test_the_body_of_a_refusal_quotes_nothing_of_the_request() -> None:
    layer = OriginCheck(None, ServerSettings())  # type: ignore[arg-type]
    headers = [(b"host", b"canary.example"), (b"origin", b"http://canary.example")]
    error = layer._check_keyless({"headers": headers})
    assert error is not None
    assert "canary" not in json.dumps(error.body())
