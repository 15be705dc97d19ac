"""The HTTP response of a recording that is written down, whole or streamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_server.chat.service import Service
from antiphon_server.http.streaming.answer_response import AnswerResponse
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse, frame
from antiphon_server.http.streaming.starting_request import StartingRequest
from antiphon_server.transcription.transcript_events import TranscriptEvents
from antiphon_server.transcription.transcript_formats import written
from antiphon_server.transcription.transcript_run import RunningTranscript


class TranscriptResponse(AnswerResponse):
    """The request runs while its response is sent, and no longer."""

    def __init__(
        self,
        stream: bool,
        events: TranscriptEvents,
        request: AbstractAsyncContextManager[RunningTranscript],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(stream, service, rates)
        self._events = events
        self._request = request

    async def send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._request as running:
            text = await running.text()
        body, media_type = await written(running, text, self._service.prompts.tokenize)
        headers = {"cache-control": "no-store", **self._rates()}
        await Response(body, headers=headers, media_type=media_type)(scope, receive, send)

    async def send_events(self, sse: SseResponse) -> None:
        policy = self._service.settings.chat
        starting = StartingRequest(self._request, sse, time.monotonic() + policy.headers_s, policy.silence_s)
        text = ""
        async with starting as running:
            async for delta in _with_comments(running.deltas(), sse, policy.silence_s):
                if not sse.started:
                    await sse.start_response()
                text += delta
                await sse.send_data(frame(self._events.delta(delta, running.pieces)))
        if not sse.started:
            await sse.start_response()
        last = self._events.end(text, running.pieces)
        await sse.end_response(b"".join(frame(event) for event in last))


async def _with_comments(
    deltas: AsyncIterator[str], sse: SseResponse, silence_s: float
) -> AsyncIterator[str]:
    """The same deltas. While none comes, the client gets comments."""
    while True:
        getting = asyncio.ensure_future(anext(deltas, None))
        try:
            while not (await asyncio.wait({getting}, timeout=silence_s))[0]:
                if not sse.started:
                    await sse.start_response()
                await sse.send_data(KEEP_ALIVE)
        except BaseException:
            getting.cancel()
            await asyncio.gather(getting, return_exceptions=True)
            raise
        delta = getting.result()
        if delta is None:
            return
        yield delta
