"""OpenTelemetry spans, as a collector receives them over HTTP. Off unless there is one."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.service import Service
from antiphon_server.config.settings import TraceSettings
from antiphon_server.http.app import create_app
from antiphon_server.observability.spans import RequestSpans
from tests.echo_engine import EchoEngine
from tests.server.parts import make_service
from tests.server.realtime_client import RealtimeClient

SECRET = "canary-of-the-prompt"
SPEECH = {
    "model": "echo",
    "messages": [{"role": "user", "content": f"hello {SECRET}"}],
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Collector(BaseHTTPRequestHandler):
    """OTLP over HTTP: keeps what is sent to it."""

    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        is_packed = self.headers.get("content-encoding") == "gzip"
        self.bodies.append(gzip.decompress(body) if is_packed else body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class Traced:
    """A server with a collector; `spans` ends both and returns what was received."""

    def __init__(self, checkpoint: Path, collector: HTTPServer, **settings: Any) -> None:
        endpoint = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        self._bodies = Collector.bodies
        self._spans = RequestSpans(TraceSettings(endpoint=endpoint, **settings))
        self.service: Service = make_service(checkpoint, EchoEngine(checkpoint), self._spans)

    @property
    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(create_app(self.service), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def spans(self) -> list[Span]:
        self._spans.close(60)
        found = []
        for body in self._bodies:
            message = ExportTraceServiceRequest.FromString(body)
            scopes = [scope for resource in message.resource_spans for scope in resource.scope_spans]
            found += [span for scope in scopes for span in scope.spans]
        return found

    def everything(self) -> bytes:
        return b"".join(self._bodies)


@contextmanager
def tracing(checkpoint: Path, **settings: Any) -> Iterator[Traced]:
    Collector.bodies = []
    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    try:
        yield Traced(checkpoint, collector, **settings)
    finally:
        collector.shutdown()
        collector.server_close()


def values_of(span: Span) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


async def test_a_spoken_request_is_one_trace_under_its_clients_span(checkpoint: Path) -> None:
    with tracing(checkpoint) as traced:
        async with traced.client as client:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "mine-1"}
            assert (
                await client.post("/v1/chat/completions", json=SPEECH, headers=headers)
            ).status_code == 200
        spans = {span.name: span for span in traced.spans()}
    assert set(spans) == {"/v1/chat/completions", "prompt", "admission", "thinker", "talker"}
    root = spans.pop("/v1/chat/completions")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert [event.name for event in root.events] == ["first_text", "first_sound", "first_packet"]
    for part in spans.values():
        assert part.trace_id == root.trace_id
        assert part.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= part.start_time_unix_nano <= part.end_time_unix_nano
        assert part.end_time_unix_nano <= root.end_time_unix_nano
    values = values_of(root)
    assert values["gen_ai.provider.name"] == "antiphon"
    assert values["gen_ai.request.model"]
    assert values["antiphon.request_id"] == "mine-1"
    assert values["gen_ai.usage.input_tokens"] > 0
    assert values["gen_ai.usage.output_tokens"] > 0


@pytest.mark.promise("R29")
async def test_no_span_has_a_part_of_a_prompt_or_an_answer(checkpoint: Path) -> None:
    with tracing(checkpoint) as traced:
        async with traced.client as client:
            await client.post(f"/v1/chat/completions?x={SECRET}", json=SPEECH)
            await client.post("/v1/chat/completions", json={"messages": SECRET, SECRET: 1})
            await client.post("/v1/audio/speech", json={"input": SECRET})
        assert len(traced.spans()) >= 6
        assert SECRET.encode() not in traced.everything()


class DeafCollector(SpanExporter):
    """Takes no span before `answers` is set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.was_waited_for = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.was_waited_for = not self.answers.wait(25)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing."""


def test_the_end_of_a_server_waits_no_longer_than_seconds_for_a_collector() -> None:
    collector = DeafCollector()
    spans = RequestSpans(TraceSettings(endpoint="http://127.0.0.1:9/v1/traces"), collector)
    spans.begin("request", {}, 0.0).end({"ended": 1.0}, {}, None)
    spans.close()
    assert not collector.was_waited_for
    collector.answers.set()


async def test_media_and_reading_aloud_have_their_parts(checkpoint: Path) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    with tracing(checkpoint) as traced:
        async with traced.client as client:
            assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
            assert (await client.post("/v1/audio/speech", json={"input": "hello"})).status_code == 200
        names = [span.name for span in traced.spans()]
    assert names.count("media") == 1
    assert {"/v1/audio/speech", "talker"} <= set(names)


async def test_a_refused_request_is_a_span_with_an_error(checkpoint: Path) -> None:
    with tracing(checkpoint) as traced:
        full = AdmissionController(Capacity(1, 0, 0, 1.0, 0.01, 1 << 20))
        object.__setattr__(traced.service, "admission", full)
        async with traced.client as client:
            assert (await client.post("/v1/chat/completions", json=SPEECH)).status_code == 503
            assert (await client.post("/v1/chat/completions", json={"messages": []})).status_code == 400
        spans = traced.spans()
    assert [span.status.message for span in spans] == ["unavailable", "client_error"]
    assert all(span.status.code == span.status.STATUS_CODE_ERROR for span in spans)


async def test_a_realtime_response_is_a_span(checkpoint: Path) -> None:
    with tracing(checkpoint) as traced:
        async with RealtimeClient(create_app(traced.service)) as client:
            done = await client.say(SECRET)
            assert done["response"]["status"] == "completed"
        spans = {span.name: span for span in traced.spans()}
        assert SECRET.encode() not in traced.everything()
    assert {"realtime response", "admission", "thinker", "talker"} <= set(spans)
    assert values_of(spans["realtime response"])["antiphon.response_id"].startswith("resp_")


async def test_a_trace_that_its_client_does_not_sample_is_not_sent(checkpoint: Path) -> None:
    with tracing(checkpoint) as traced:
        async with traced.client as client:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
            await client.post("/v1/chat/completions", json=SPEECH, headers=headers)
        assert traced.spans() == []
    with tracing(checkpoint, sampled_share=0.0) as traced:
        async with traced.client as client:
            await client.post("/v1/chat/completions", json=SPEECH)
        assert traced.spans() == []


async def test_exemplars_lead_from_a_metric_to_its_trace(checkpoint: Path) -> None:
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    with tracing(checkpoint) as traced:
        async with traced.client as client:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            await client.post("/v1/chat/completions", json=SPEECH, headers=headers)
            rich, plain = await client.get("/metrics", headers=accept), await client.get("/metrics")
        traced.spans()
    assert rich.headers["content-type"].startswith("application/openmetrics-text")
    assert rich.text.count("# EOF") == 1
    assert f'# {{trace_id="{TRACE}"}}' in rich.text
    assert TRACE not in plain.text


async def test_without_a_collector_no_trace_is_kept(service: Service, client: httpx.AsyncClient) -> None:
    assert service.spans is None
    assert (await client.post("/v1/chat/completions", json=SPEECH)).status_code == 200
    assert (await client.get("/metrics")).headers["content-type"].startswith("text/plain")


def test_without_a_collector_opentelemetry_is_not_imported() -> None:
    program = (
        "import sys, antiphon_server.process.serve; print([m for m in sys.modules if 'opentelemetry' in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
