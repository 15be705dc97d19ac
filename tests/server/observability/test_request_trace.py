"""Request traces: one log line per request if the setting is on, otherwise none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_executor.interface.request import OmniRequest
from antiphon_server.config.settings import LogSettings
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service

SPEECH = {
    "model": "echo",
    "messages": [{"role": "user", "content": "hello there"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
}
WAY = (
    "body_read_ms",
    "planned_ms",
    "admitted_ms",
    "rendered_ms",
    "started_ms",
    "first_text_ms",
    "first_sound_ms",
    "first_packet_ms",
    "text_ended_ms",
    "speech_ended_ms",
    "ended_ms",
)


async def lines_of(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, *, milestones: bool, engine: EchoEngine
) -> list[dict[str, Any]]:
    service = make_service(checkpoint, engine, logs=LogSettings(milestones=milestones))
    transport = httpx.ASGITransport(create_app(service))
    caplog.set_level(logging.INFO, "antiphon.milestones")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(2):
            assert (await client.post("/v1/chat/completions", json=SPEECH)).status_code == 200
    return [record.fields for record in caplog.records if record.name == "antiphon.milestones"]  # type: ignore[attr-defined]


async def test_each_request_logs_one_line_with_its_marks_in_order(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = await lines_of(checkpoint, caplog, milestones=True, engine=EchoEngine(checkpoint))
    assert [tuple(line) for line in lines] == [WAY, WAY]
    for line in lines:
        assert list(line.values()) == sorted(line.values())
        assert 0 <= line["body_read_ms"] < line["ended_ms"] < 10_000


async def test_without_the_setting_no_trace_is_kept_and_the_engine_gets_no_callback(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = EchoEngine(checkpoint)
    assert await lines_of(checkpoint, caplog, milestones=False, engine=engine) == []
    assert [request.on_mark for request in engine.requests] == [None, None]


async def test_the_engines_marks_are_in_the_trace(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Noting(EchoEngine):
        def generate(self, request: OmniRequest) -> Any:
            assert request.on_mark is not None
            request.on_mark("thinker_queued", 0.0)
            return super().generate(request)

    lines = await lines_of(checkpoint, caplog, milestones=True, engine=Noting(checkpoint))
    assert all(line["thinker_queued_ms"] < 0 for line in lines)


JSON_ROUTES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/responses": {"input": "hello"},
    "/v1/completions": {"prompt": ["hello", "you"]},
    "/v1/audio/speech": {"input": "hello"},
}


@pytest.mark.parametrize("path", [*JSON_ROUTES, "/v1/audio/transcriptions"])
async def test_every_route_to_the_engine_logs_its_trace(
    checkpoint: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    service = make_service(checkpoint, EchoEngine(checkpoint), logs=LogSettings(milestones=True))
    transport = httpx.ASGITransport(create_app(service))
    caplog.set_level(logging.INFO, "antiphon.milestones")
    body: dict[str, Any] = {"json": JSON_ROUTES.get(path)}
    if path not in JSON_ROUTES:
        body = {"files": {"file": ("a.wav", b"canned")}}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.post(path, **body)).status_code == 200
    [line] = [record.fields for record in caplog.records if record.name == "antiphon.milestones"]  # type: ignore[attr-defined]
    assert list(line)[:2] == ["body_read_ms", "planned_ms"]
    assert list(line)[-1] == "ended_ms"
