"""Which bodies are read: media types, content codings, and the limits on JSON for any declared type."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route

from antiphon_server.config.settings import Limits, ServerSettings
from antiphon_server.http.app import create_app, layers
from antiphon_server.http.body_type import BodyTypes
from antiphon_server.http.lifecycle import Lifecycle
from antiphon_server.observability.metrics import ServerMetrics
from tests.machine import slowness
from tests.server.parts import make_service
from tests.server.raw_http import Answer, exchange, serving
from tests.server.sink import Sink, error_of

pytestmark = pytest.mark.promise("R43")

PATH = "/v1/chat/completions"
CHAT = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hello"}]}).encode()
JSON_TYPES = [
    "application/json",
    "Application/JSON; charset=utf-8",
    'application/json;charset="utf-8"',
    "application/vnd.example+json",
    " application/json ",
]
OTHER_TYPES = [
    "text/plain",
    "text/plain;charset=UTF-8",
    "text/json",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/jsonp",
    "application/json, text/plain",
    "text/x+json",
    "application/octet-stream",
    "json",
    "",
    "é",
]


def chunks(body: bytes) -> bytes:
    pieces = [body[start : start + 30_000] for start in range(0, len(body), 30_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def post(body: bytes, *headers: str, path: str = PATH, chunked: bool = False) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (chunks(body) if chunked else body)


@pytest.fixture(scope="module")
async def port(checkpoint: Path) -> Any:
    service = make_service(checkpoint)
    async with serving(create_app(service), service.settings.server) as port:
        yield port


def refused(answer: Answer) -> str:
    assert answer.status == 415
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    return str(error["code"])


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("content_type", OTHER_TYPES)
async def test_a_json_route_reads_nothing_but_json(port: int, content_type: str, chunked: bool) -> None:
    answer = await exchange(port, post(CHAT, f"Content-Type: {content_type}", chunked=chunked))
    assert refused(answer) == "unsupported_media_type"
    assert "application/json" in error_of(answer)["message"]
    assert error_of(answer)["hint"] == "send 'Content-Type: application/json'"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("content_type", JSON_TYPES)
async def test_json_is_read_under_all_its_names(port: int, content_type: str, chunked: bool) -> None:
    answer = await exchange(port, post(CHAT, f"Content-Type: {content_type}", chunked=chunked))
    assert answer.status == 200


async def test_two_content_types_are_one_too_many(port: int) -> None:
    both = ("Content-Type: application/json", "Content-Type: text/plain")
    assert refused(await exchange(port, post(CHAT, *both))) == "unsupported_media_type"
    assert refused(await exchange(port, post(CHAT, *both[::-1]))) == "unsupported_media_type"


async def test_a_body_of_no_type_is_read_unless_a_page_sent_it(port: int) -> None:
    assert (await exchange(port, post(CHAT))).status == 200
    own = "Origin: http://localhost"
    assert refused(await exchange(port, post(CHAT, own))) == "unsupported_media_type"
    assert (await exchange(port, post(CHAT, own, "Content-Type: application/json"))).status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x-gzip", "identity, gzip", "", "chunked"])
async def test_a_compressed_body_is_refused_with_the_coding_to_use(port: int, coding: str) -> None:
    answer = await exchange(port, post(CHAT, "Content-Type: application/json", f"Content-Encoding: {coding}"))
    assert refused(answer) == "unsupported_content_encoding"
    assert answer.headers["accept-encoding"] == "identity"


async def test_a_body_that_says_it_is_not_compressed_is_read(port: int) -> None:
    plain = ("Content-Type: application/json", "Content-Encoding: Identity")
    assert (await exchange(port, post(CHAT, *plain))).status == 200


async def test_a_path_or_method_without_a_route_says_so_whatever_was_sent(port: int) -> None:
    form = "Content-Type: multipart/form-data; boundary=x"
    assert (await exchange(port, post(b"--x", form, path="/v1/audio/nothing"))).status == 404
    assert (await exchange(port, post(b"--x", form, path="/v1/models"))).status == 405
    get = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\r\n"
    assert (await exchange(port, get)).status == 200


BOMBS = {"deep": (b"[" * 70, "json_too_deep"), "wide": (b"[" + b"[]," * 60_000, "json_too_large")}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Type: application/json",),
        ("Content-Type: application/x+json",),
        (),
    ],
    ids=str,
)
@pytest.mark.parametrize(("body", "code"), BOMBS.values(), ids=BOMBS.keys())
async def test_the_limits_on_json_hold_for_each_type_and_coding(
    port: int, headers: tuple[str, ...], body: bytes, code: str, chunked: bool
) -> None:
    for path in (PATH, "/v1/nothing", "/docs"):
        answer = await exchange(port, post(body, *headers, path=path, chunked=chunked))
        assert (answer.status, error_of(answer)["code"]) == (400, code)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; boundary=x", "text/plain", "application/json"]
)
async def test_forty_mebibytes_of_brackets_are_refused_at_once(port: int, content_type: str) -> None:
    body = b'{"messages":[' + b"[]," * (13 << 20)
    began = time.monotonic()
    answer = await exchange(port, post(body, f"Content-Type: {content_type}"))
    assert answer.status in (400, 415)
    assert time.monotonic() - began < 5 * slowness()


async def _count(request: Any) -> JSONResponse:
    return JSONResponse({"bytes": len(await request.body())})


def declared(path: str, *types: str) -> Route:
    route = Route(path, _count, methods=["POST"])
    route.openapi_extra = {"requestBody": {"content": {name: {} for name in types}}}  # type: ignore[attr-defined]
    return route


async def test_a_route_may_declare_that_it_reads_forms_and_is_then_free_of_the_limits_on_json() -> None:
    server = ServerSettings(limits=Limits(json_nodes=100))
    form, either = "multipart/form-data", "/v1/either"
    plain = Route("/v1/plain", _count, methods=["POST"])
    both = declared(either, "application/json", form)
    routes = [declared("/v1/form", form), both, declared("/v1/x/{id}"), plain]
    app: Any = Sink()
    for layer in reversed(layers(server, ServerMetrics("test"), Lifecycle(), routes)):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    body = b"[]" * 200
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:

        async def status(path: str, content_type: str | None) -> int:
            headers = {} if content_type is None else {"content-type": content_type}
            return (await client.post(path, content=body, headers=headers)).status_code

        assert await status("/v1/form", f"{form}; boundary=x") == 200
        assert await status("/v1/form", "application/json") == 415
        assert await status("/v1/form", "application/x+json") == 415
        assert await status("/v1/form", None) == 415
        assert await status("/v1/plain", f"{form}; boundary=x") == 415
        assert await status("/v1/plain", "application/json") == 400
        assert await status(either, f"{form}; boundary=x") == 400
        assert await status("/v1/x/1", f"{form}; boundary=x") == 415
        assert await status("/v1/x/1", "application/json") == 400


async def test_other_scopes_than_requests_pass() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await BodyTypes(app)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
