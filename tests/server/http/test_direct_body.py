"""Streamed text that is written without its task: the same bytes, the same limits, the same release."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.http.app import create_app
from antiphon_server.http.direct_body import DirectBody
from tests.echo_engine import EchoEngine, Script
from tests.server.exchange import Exchange, becomes_true
from tests.server.parts import make_service
from tests.server.raw_http import serving

pytestmark = pytest.mark.promise("R17")

PATH = "/v1/chat/completions"
QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello."}], "stream": True}
ANSWER = 'One, two; three - "four"\n\té ü 語 😀 ' * 20
_CHANGES = re.compile(rb'"id":"chatcmpl-[0-9a-f]+"|"created":\d+')


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written directly."""
    written: list[bytes] = []
    write = DirectBody.write

    def watched(body: DirectBody, data: bytes) -> None:
        written.append(data)
        write(body, data)

    monkeypatch.setattr(DirectBody, "write", watched)
    return written


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 2},
        {"logprobs": True, "top_logprobs": 1},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        {"max_tokens": 7},
    ],
)
async def test_the_answer_is_the_same_as_one_that_is_sent_by_its_task(
    checkpoint: Path, engine: EchoEngine, direct: list[bytes], options: dict[str, Any]
) -> None:
    service = make_service(checkpoint, engine)
    app = create_app(service)
    engine.script = Script(delay_s=0.001, answer=ANSWER)
    body = QUESTION | options
    async with serving(app, service.settings.server) as port, httpx.AsyncClient() as client:
        answer = await client.post(f"http://localhost:{port}{PATH}", json=body)
    assert len(direct) > 5
    assert all(b'"content"' in data for data in direct)
    async with Exchange(app, body) as exchange:
        await asyncio.wait_for(exchange.task, 60)
    assert _CHANGES.sub(b"", answer.content) == _CHANGES.sub(b"", exchange.body)
    assert answer.content.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_reads_no_text_stops_the_engine_and_is_dropped(
    checkpoint: Path, engine: EchoEngine, direct: list[bytes]
) -> None:
    service = make_service(checkpoint, engine, server={"timeouts": {"stalled_client_s": 1.0}})
    engine.script = Script(answer="word " * 200_000)
    async with serving(create_app(service), service.settings.server) as port:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            sock.connect(("127.0.0.1", port))
            data = json.dumps(QUESTION).encode()
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
            sock.sendall(head.encode() + data)
            assert await becomes_true(lambda: engine.running)
            assert await becomes_true(lambda: not engine.running, 20)
        assert await becomes_true(lambda: service.admission.requests == 0)
    assert engine.aborted == 1
    assert direct
    assert 'reason="stalled_client"} 1.0' in service.metrics.render().decode()


async def test_a_client_that_leaves_in_the_middle_frees_everything(
    checkpoint: Path, engine: EchoEngine, direct: list[bytes]
) -> None:
    service = make_service(checkpoint, engine)
    engine.script = Script(delay_s=0.002, answer="word " * 10_000)
    async with serving(create_app(service), service.settings.server) as port, httpx.AsyncClient() as client:
        async with client.stream("POST", f"http://localhost:{port}{PATH}", json=QUESTION):
            assert await becomes_true(lambda: len(direct) > 20)
        assert await becomes_true(lambda: service.admission.requests == 0)
    assert (engine.running, engine.aborted) == (0, 1)
