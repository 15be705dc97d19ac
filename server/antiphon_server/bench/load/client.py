"""Requests over HTTP, each from the moment it is due to its end.

In: request bodies and due times. Out: one `StreamRecord` each, whatever became of it; nothing is dropped.
Bytes get their time when they are read, before anything is decoded.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

from antiphon_server.bench.load.event_stream import EventReader, EventTooLong
from antiphon_server.bench.load.request_record import RequestTrace
from antiphon_server.bench.load.workload import Request
from antiphon_server.bench.measure.dialect import ErrorEvent, MalformedChunk, Place
from antiphon_server.bench.measure.record import StreamRecord
from antiphon_server.bench.measure.stream_metrics import StreamMetrics
from antiphon_server.bench.options import Options

_PATH = "/chat/completions"
_UNTOLD_RETRY_S = 1.0
# What httpcore says of each request as soon as its head is written.
_SENT = "send_request_headers.complete"


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer for a judge: its text and its sound (s16le, mono)."""

    text: str
    pcm: bytes
    rate_hz: int


class Listener:
    """One level's requests. `records` and `said` grow as they end; `place` is where the sound stood."""

    def __init__(self, client: httpx.AsyncClient, options: Options) -> None:
        self._client = client
        self._options = options
        self.began = time.monotonic()
        self.records: list[StreamRecord] = []
        self.said: list[Said] = []
        self.place: Place | None = None

    def begin(self) -> None:
        self.began = time.monotonic()

    async def ask(self, number: int, request: Request, due: float) -> StreamRecord:
        """`due`: when it should have been sent, on the monotonic clock."""
        options = self._options
        visit = RequestTrace(
            due, StreamMetrics(options.start_buffer_s, keeps_sound=options.judging.is_wanted)
        )
        try:
            await self._visit(visit, request)
        except asyncio.CancelledError:
            visit.fail("cancelled", None)
            raise
        finally:
            record = visit.record(number, request.input, self.began)
            self.records.append(record)
            self.place = visit.hearing.place or self.place
            if record.outcome == "ok" and visit.hearing.sound:
                hearing = visit.hearing
                self.said.append(Said("".join(hearing.text), bytes(hearing.sound), hearing.rate_hz))
        return record

    async def _visit(self, visit: RequestTrace, request: Request) -> None:
        for _ in range(self._options.retries):
            await self._try(visit, request)
            if visit.outcome != "rejected":
                return
            wait_s = visit.retry_after_s
            await asyncio.sleep(_UNTOLD_RETRY_S if wait_s is None else wait_s)
        await self._try(visit, request)

    async def _try(self, visit: RequestTrace, request: Request) -> None:
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._exchange(visit, request)
        except (TimeoutError, httpx.TimeoutException):
            visit.fail("timeout", f"no end within {self._options.timeout_s:g} s")
        except httpx.ConnectError as error:
            visit.fail("no_connection", str(error) or type(error).__name__)
        except ErrorEvent as error:
            visit.fail("error_event", str(error))
        except (MalformedChunk, EventTooLong) as error:
            visit.fail("broken", str(error))
        except httpx.HTTPError as error:
            visit.fail("broken", str(error) or type(error).__name__)
        finally:
            visit.ended_at = time.monotonic()

    async def _exchange(self, visit: RequestTrace, request: Request) -> None:
        async def trace(event: str, _: dict[str, object]) -> None:
            if event.endswith(_SENT):
                visit.leave(time.monotonic())

        url, noted = self._options.url + _PATH, {"trace": trace}
        async with self._client.stream("POST", url, content=request.body, extensions=noted) as response:
            visit.meet(response.status_code, response.headers, time.monotonic())
            if response.status_code != httpx.codes.OK:
                visit.refuse(await response.aread())
            elif "text/event-stream" not in response.headers.get("content-type", ""):
                visit.fail("broken", "answered as a whole, not as a stream")
            else:
                await self._listen(visit, response)

    async def _listen(self, visit: RequestTrace, response: httpx.Response) -> None:
        reader, hearing = EventReader(), visit.hearing
        leave_after_s = self._options.leave_after_s or float("inf")
        async for piece in response.aiter_raw():
            at = time.monotonic()
            for data in reader.feed(piece):
                hearing.see(data, at)
            if hearing.heard_s >= leave_after_s:
                visit.outcome = "left"
                return
        visit.conclude(self._options.asking.answer)
