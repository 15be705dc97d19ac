"""The HTTP response of one chat request, whole or streamed. A client that disconnects ends the request.

Errors before the first byte are raised and become an HTTP status. A stream ends exactly once: with `[DONE]`
or with an error.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineDead
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerHead
from antiphon_server.chat.response.completion import CompletionBuilder
from antiphon_server.chat.service import Service
from antiphon_server.http.connection import TIMED_OUT
from antiphon_server.http.direct_body import DIRECT_BODY
from antiphon_server.http.error_response import body_of, error_of
from antiphon_server.http.middleware import SEND_BODY
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.http.streaming.client_watch import ClientLeft, cancel_if_left
from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse, frame
from antiphon_server.http.streaming.streamed_answer import StreamedAnswer
from antiphon_server.media.encode import encode_file, open_encoder
from antiphon_server.observability.request_trace import log_trace

_log = logging.getLogger("antiphon.turn")


class ChatResponse(Response):
    """The request runs while its response is sent, and no longer."""

    media_type = "application/json"

    def __init__(
        self,
        head: AnswerHead,
        stream: bool,
        request: AbstractAsyncContextManager[RunningRequest],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`rates`: headers with the rest of the key's rate limits, read when the answer begins."""
        super().__init__()
        self._head = head
        self._stream = stream
        self._request = request
        self._service = service
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        respond = self._send_stream if self._stream else self._send_whole
        try:
            await cancel_if_left(receive, respond(scope, receive, send))
        except ClientLeft:
            timed_out = scope.get("state", {}).get(TIMED_OUT)
            self._service.metrics.request_aborted("stalled_client" if timed_out else "disconnect")
        finally:
            log_trace()

    async def _send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._request as running:
                form = running.form
                builder = CompletionBuilder(self._head, form, running.state.usage)
                await running.write_whole(builder)
        except EngineDead:
            self._service.metrics.request_aborted("engine_dead")
            raise
        encode_s = self._service.settings.chat.encode_s
        pcm = bytes(builder.pcm)
        audio_file = await encode_file(pcm, form.audio_format, encode_s) if form.speaks else b""
        body = await asyncio.to_thread(lambda: builder.completion(audio_file).to_json())
        if form.speaks:
            self._service.transcripts.keep(self._head.audio_id, builder.transcript)
        headers = {"cache-control": "no-store", **self._rates()}
        await Response(body, headers=headers, media_type=self.media_type)(scope, receive, send)

    async def _send_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        sse = SseResponse(send, state.get(SEND_BODY, send), self._rates, state.get(DIRECT_BODY))
        try:
            await self._stream_answer(sse)
        except ClientStalled:
            raise
        except Exception as error:
            if isinstance(error, EngineDead):
                self._service.metrics.request_aborted("engine_dead")
            if not sse.started:
                raise
            await _end_with_error(error, sse)

    async def _stream_answer(self, sse: SseResponse) -> None:
        policy = self._service.settings.chat
        headers_at_s = time.monotonic() + policy.headers_s
        starting = _StartingRequest(self._request, sse, headers_at_s, policy.silence_s)
        async with starting as running:
            audio_format = running.form.audio_format if running.form.speaks else "pcm16"
            async with open_encoder(audio_format, policy.encode_s) as encoder:
                answer = StreamedAnswer(self._head, running, self._service, sse, encoder)
                await answer.send_events(headers_at_s)
        await answer.send_end()


class _StartingRequest:
    """Enters a request, which waits for its slot. Meanwhile the client gets headers, then comments."""

    def __init__(
        self,
        request: AbstractAsyncContextManager[RunningRequest],
        sse: SseResponse,
        headers_at_s: float,
        silence_s: float,
    ) -> None:
        self._request = request
        self._sse = sse
        self._headers_at_s = headers_at_s
        self._silence_s = silence_s

    async def __aenter__(self) -> RunningRequest:
        entering = asyncio.ensure_future(self._request.__aenter__())
        try:
            await self._wait_for(entering)
        except BaseException as error:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            if not entering.cancelled() and entering.exception() is None:
                await self._request.__aexit__(type(error), error, error.__traceback__)
            raise
        return entering.result()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._request.__aexit__(kind, error, trace)

    async def _wait_for(self, entering: asyncio.Future[RunningRequest]) -> None:
        while not entering.done():
            sse = self._sse
            limit_s = self._silence_s if sse.started else max(self._headers_at_s - time.monotonic(), 0.0)
            await asyncio.wait({entering}, timeout=limit_s)
            if entering.done():
                return
            if sse.started:
                await sse.send_data(KEEP_ALIVE)
            else:
                await sse.start_response()


async def _end_with_error(error: Exception, sse: SseResponse) -> None:
    """The last event of a stream that fails is the error; no `[DONE]` follows."""
    shown = error_of(error)
    if shown.status >= 500:
        _log.error("stream failed", exc_info=error)
    await sse.end_response(frame(body_of(shown)))
