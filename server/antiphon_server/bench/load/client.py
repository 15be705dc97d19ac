"""HTTP client of one load level: sends requests and turns each response into a `StreamRecord`.

Every request gets a record, whatever its outcome. Arrival times are taken when bytes are read, before
decoding.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass

import httpx

from antiphon_server.bench.load.event_stream import EventTooLong, timed_events
from antiphon_server.bench.load.request_trace import RequestTrace
from antiphon_server.bench.load.workload import Request
from antiphon_server.bench.measure.dialect import AudioField, ErrorEvent, MalformedChunk
from antiphon_server.bench.measure.player import Underrun
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.measure.stream_metrics import StreamMetrics
from antiphon_server.bench.options import Options

_PATH = "/chat/completions"
_DEFAULT_RETRY_S = 1.0
# The trace event that httpcore emits when it has written the head of a request.
_HEAD_SENT = "send_request_headers.complete"


@dataclass(frozen=True, slots=True)
class SpokenAnswer:
    """A complete answer for the judge: its text and its audio (s16le, mono)."""

    text: str
    pcm: bytes
    rate_hz: int


class BenchClient:
    """Collects what one level has shown. `audio_field`: the JSON field that held the audio."""

    def __init__(self, client: httpx.AsyncClient, options: Options) -> None:
        self._client = client
        self._options = options
        self.began = time.monotonic()
        self.records: list[StreamRecord] = []
        self.answers: list[SpokenAnswer] = []
        self.underruns: list[Underrun] = []
        self.audio_field: AudioField | None = None

    def restart_clock(self) -> None:
        """The level starts now: `due_s` of all records counts from here."""
        self.began = time.monotonic()

    async def send_request(self, number: int, request: Request, due: float) -> StreamRecord:
        """`due`: when the request should have been sent, on the monotonic clock."""
        options = self._options
        metrics = StreamMetrics(options.start_buffer_s, keep_pcm=options.judge.is_wanted)
        trace = RequestTrace(due, metrics)
        try:
            await self._send_with_retries(trace, request)
        except asyncio.CancelledError:
            trace.set_failure("cancelled", None)
            raise
        finally:
            record = trace.to_record(number, request.input, self.began)
            self.records.append(record)
            self.underruns += metrics.player.underruns if metrics.player else []
            self.audio_field = metrics.audio_field or self.audio_field
            if record.outcome == "ok" and metrics.pcm:
                self.answers.append(SpokenAnswer("".join(metrics.text), bytes(metrics.pcm), metrics.rate_hz))
        return record

    async def _send_with_retries(self, trace: RequestTrace, request: Request) -> None:
        for _ in range(self._options.retries):
            await self._send_once(trace, request)
            if trace.outcome != "rejected":
                return
            wait_s = trace.retry_after_s
            await asyncio.sleep(_DEFAULT_RETRY_S if wait_s is None else wait_s)
        await self._send_once(trace, request)

    async def _send_once(self, trace: RequestTrace, request: Request) -> None:
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._exchange(trace, request)
        except (TimeoutError, httpx.TimeoutException):
            trace.set_failure("timeout", f"no end within {self._options.timeout_s:g} s")
        except httpx.ConnectError as error:
            trace.set_failure("no_connection", str(error) or type(error).__name__)
        except ErrorEvent as error:
            trace.set_failure("error_event", str(error))
        except (MalformedChunk, EventTooLong) as error:
            trace.set_failure("broken", str(error))
        except httpx.HTTPError as error:
            trace.set_failure("broken", str(error) or type(error).__name__)
        finally:
            trace.ended_at = time.monotonic()

    async def _exchange(self, trace: RequestTrace, request: Request) -> None:
        async def on_transport_event(event: str, _: dict[str, object]) -> None:
            if event.endswith(_HEAD_SENT):
                trace.mark_sent(time.monotonic())

        url, extensions = self._options.url + _PATH, {"trace": on_transport_event}
        async with self._client.stream("POST", url, content=request.body, extensions=extensions) as response:
            trace.mark_headers(response.status_code, response.headers, time.monotonic())
            if response.status_code != httpx.codes.OK:
                trace.set_error_response(await response.aread())
            elif "text/event-stream" not in response.headers.get("content-type", ""):
                trace.set_failure("broken", "answered as a whole, not as a stream")
            else:
                await self._read_stream(trace, response)

    async def _read_stream(self, trace: RequestTrace, response: httpx.Response) -> None:
        leave_after_s = self._options.leave_after_s or float("inf")
        async with aclosing(timed_events(response)) as events:
            async for data, at in events:
                trace.metrics.add_event(data, at)
                if trace.metrics.received_s >= leave_after_s:
                    trace.outcome = "left"
                    return
        trace.set_finished(self._options.workload.answer)
