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

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineDead
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerHead
from antiphon_server.chat.response.completion import CompletionBuilder
from antiphon_server.chat.service import Service
from antiphon_server.http.direct_body import DIRECT_BODY
from antiphon_server.http.error_response import body_of, error_of
from antiphon_server.http.middleware import SEND_BODY
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.http.streaming.client_watch import respond_while_connected
from antiphon_server.http.streaming.sse import SseResponse, frame
from antiphon_server.http.streaming.starting_request import StartingRequest
from antiphon_server.http.streaming.streamed_answer import StreamedAnswer
from antiphon_server.media.encode import encode_file, open_encoder

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
        await respond_while_connected(scope, receive, respond(scope, receive, send), self._service.metrics)

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
        starting = StartingRequest(self._request, sse, headers_at_s, policy.silence_s)
        async with starting as running:
            audio_format = running.form.audio_format if running.form.speaks else "pcm16"
            async with open_encoder(audio_format, policy.encode_s) as encoder:
                answer = StreamedAnswer(self._head, running, self._service, sse, encoder)
                await answer.send_events(headers_at_s)
        await answer.send_end()


async def _end_with_error(error: Exception, sse: SseResponse) -> None:
    """The last event of a stream that fails is the error; no `[DONE]` follows."""
    shown = error_of(error)
    if shown.status >= 500:
        _log.error("stream failed", exc_info=error)
    await sse.end_response(frame(body_of(shown)))
