"""`/metrics`: its names, its bounded labels, and the engines' metrics beside the server's."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon_executor.interface.status import EngineStatus
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError, BadRequest, InternalError, Overloaded
from antiphon_server.http.app import create_app
from antiphon_server.observability.metrics import ServerMetrics
from tests.server.admission.admitting import LIVE
from tests.server.raw_http import connected, read_answer, serving

pytestmark = pytest.mark.promise("R30")

SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
OURS = {
    "antiphon_time_to_first_token_seconds",
    "antiphon_time_to_first_audio_seconds",
    "antiphon_request_duration_seconds",
    "antiphon_request_upload_seconds",
    "antiphon_audio_real_time_factor",
    "antiphon_audio_seconds_generated",
    "antiphon_requests",
    "antiphon_requests_aborted",
    "antiphon_media_rejected",
    "antiphon_event_loop_lag_seconds",
    "antiphon_event_loop_tasks",
    "antiphon_build_info",
}


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_all_metrics_exist_before_the_first_request() -> None:
    text = ServerMetrics("1.2.3").render().decode()
    assert {family.name for family in text_string_to_metric_families(text)} >= OURS
    assert 'version="1.2.3"' in text


def test_each_observation_changes_its_metric() -> None:
    metrics = ServerMetrics("x")
    metrics.first_token(0.2)
    metrics.first_audio(0.5)
    metrics.audio_sent(1.6)
    metrics.speech_finished(0.25)
    metrics.request_aborted("disconnect")
    metrics.loop_probed(0.001)
    metrics.watch_tasks(lambda: 12)
    found = samples(metrics.render().decode())
    assert found["antiphon_time_to_first_token_seconds_sum", ()] == 0.2
    assert found["antiphon_time_to_first_audio_seconds_sum", ()] == 0.5
    assert found["antiphon_audio_seconds_generated_total", ()] == 1.6
    assert found["antiphon_audio_real_time_factor_sum", ()] == 0.25
    assert found["antiphon_audio_real_time_factor_count", ()] == 1
    assert found["antiphon_event_loop_lag_seconds_count", ()] == 1
    assert found["antiphon_event_loop_tasks", ()] == 12
    assert found["antiphon_requests_aborted_total", (("reason", "disconnect"),)] == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadRequest("300 s at most", code="media_limit_exceeded"), "limit"),
        (BadRequest("not this host", code="media_host_not_allowed"), "host"),
        (BadRequest("not a sound file"), "unreadable"),
        (Overloaded("no decoder is free"), "busy"),
        (InternalError("it did not start"), "fault"),
    ],
)
async def test_refused_media_are_counted_by_reason(
    service: Service, client: httpx.AsyncClient, error: ApiError, reason: str
) -> None:
    async def refuse(*_: object) -> None:
        raise error

    service.media.load = refuse  # type: ignore[method-assign, assignment]
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    request = {"model": "echo", "messages": [{"role": "user", "content": [part]}]}
    response = await client.post("/v1/chat/completions", json=request)
    assert response.status_code == error.status
    found = samples(service.metrics.render().decode())
    assert found["antiphon_media_rejected_total", (("reason", reason),)] == 1


async def test_the_load_is_read_at_each_scrape() -> None:
    metrics = ServerMetrics("x")
    admission = AdmissionController(Capacity(1, 1, 5, 100, 30, 100))
    metrics.watch_load(lambda: admission.load)
    with admission.admit(Reservation(speech=LIVE)) as reservation, admission.admit(Reservation()):
        await admission.wait_for_slot(reservation, RequestSize())
        found = samples(metrics.render().decode())
    assert found["antiphon_stage_queue_depth", (("stage", "thinker"),)] == 1
    assert found["antiphon_stage_queue_depth", (("stage", "talker"),)] == 0
    assert found["antiphon_stage_running", (("stage", "talker"),)] == 1


def test_the_engine_status_is_read_at_each_scrape() -> None:
    metrics = ServerMetrics("x")
    status = EngineStatus({"thinker": True, "talker": True}, 3, 2, 2, 8, restarts={"talker": 1})
    metrics.watch_engine(lambda: status)
    found = samples(metrics.render().decode())
    assert found["antiphon_engine_requests", (("stage", "thinker"),)] == 3
    assert found["antiphon_engine_requests", (("stage", "talker"),)] == 2
    assert found["antiphon_speech_slots", (("state", "used"),)] == 2
    assert found["antiphon_speech_slots", (("state", "free"),)] == 6
    assert found["antiphon_engine_restarts_total", (("stage", "talker"),)] == 1


async def test_the_route_has_the_metrics_of_the_server_and_of_the_engines(client: httpx.AsyncClient) -> None:
    response = await client.get("/metrics")
    assert response.status_code == 200
    found = samples(response.text)
    assert found["vllm:num_requests_running", ()] == 0
    assert ("antiphon_requests_total", (("outcome", "ok"),)) in found


def duration_counts(service: Service) -> dict[str, float]:
    found = samples(service.metrics.render().decode())
    return {
        dict(labels)["route"]: value
        for (name, labels), value in found.items()
        if name == "antiphon_request_duration_seconds_count"
    }


async def test_durations_are_labelled_by_route_and_unknown_paths_are_one(
    service: Service, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
    known = ("models", "models/echo", "models/a/b/c", "files/a", "audio/voices")
    for path in (*known, "embeddings", "chat/completions/x"):
        await client.get(f"/v1/{path}")
    assert duration_counts(service) == {
        "/v1/chat/completions": 1,
        "/v1/responses": 0,
        "/v1/files": 1,
        "/v1/audio/speech": 0,
        "/v1/audio/transcriptions": 0,
        "/v1/audio/translations": 0,
        "/v1/models": 3,
        "/v1/audio/voices": 1,
        "/v1/realtime": 0,
        "/v1/realtime/client_secrets": 0,
        "other": 2,
    }


async def test_times_to_first_token_and_audio_start_at_the_first_byte_of_the_request(
    service: Service,
) -> None:
    """The head arrives in two pieces and the body in two, 0.25 s apart."""
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], **SPOKEN}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n" % len(body)
    async with (
        serving(create_app(service), service.settings.server) as port,
        connected(port) as (reader, writer),
    ):
        for piece in (head, b"Content-Type: application/json\r\n\r\n", body[:9], body[9:]):
            writer.write(piece)
            await asyncio.sleep(0.25)
        assert (await read_answer(reader)).status == 200
    found = samples(service.metrics.render().decode())
    for name in ("time_to_first_token", "time_to_first_audio", "request_upload"):
        assert found[f"antiphon_{name}_seconds_count", ()] == 1
        assert found[f"antiphon_{name}_seconds_sum", ()] >= 0.7
    assert found["antiphon_request_duration_seconds_sum", (("route", "/v1/chat/completions"),)] >= 0.7


async def test_no_request_creates_a_new_series(service: Service, client: httpx.AsyncClient) -> None:
    await client.get("/v1/models")
    before = set(samples((await client.get("/metrics")).text))
    for number in range(200):
        headers = {"x-request-id": f"id{number}", "user-agent": f"agent{number}"}
        await client.get(f"/v1/models/m{number}", headers=headers)
        await client.request(f"M{number}", f"/v1/path{number}?q={number}", headers=headers)
        await client.post("/v1/chat/completions", json={"model": f"m{number}", "messages": []})
    assert set(samples((await client.get("/metrics")).text)) == before
