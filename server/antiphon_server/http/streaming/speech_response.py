"""The HTTP response of a text that is read aloud. A client that disconnects ends the request.

Errors before the first byte are raised and become an HTTP status. Later, a stream of events ends with an
error event, and audio breaks off without the end of its chunked encoding.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from antiphon_executor.interface.errors import EngineDead
from antiphon_server.chat.service import Service
from antiphon_server.http.error_response import error_of
from antiphon_server.http.middleware import SEND_BODY
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.http.streaming.client_watch import respond_while_connected
from antiphon_server.http.streaming.sse import SseResponse, frame, headers_of_type
from antiphon_server.http.streaming.starting_request import StartingRequest
from antiphon_server.http.streaming.streamed_speech import StreamedSpeech
from antiphon_server.media.encode import open_encoder
from antiphon_server.speech.reading_run import RunningReading
from antiphon_server.speech.reading_spec import SpeechForm

_log = logging.getLogger("antiphon.turn")


class SpeechResponse(Response):
    """The request runs while its response is sent, and no longer."""

    def __init__(
        self,
        form: SpeechForm,
        request: AbstractAsyncContextManager[RunningReading],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`rates`: headers with the rest of the key's rate limits, read when the answer begins."""
        super().__init__()
        self._form = form
        self._request = request
        self._service = service
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        headers = headers_of_type(self._form.media_type)
        response = SseResponse(send, state.get(SEND_BODY, send), self._rates, headers=headers)
        await respond_while_connected(scope, receive, self._respond(response), self._service.metrics)

    async def _respond(self, response: SseResponse) -> None:
        try:
            await self._stream(response)
        except ClientStalled:
            raise
        except Exception as error:
            if isinstance(error, EngineDead):
                self._service.metrics.request_aborted("engine_dead")
            if not (response.started and self._form.events):
                raise
            await _end_with_error(error, response)

    async def _stream(self, response: SseResponse) -> None:
        async with self._started(response) as running:
            form, policy = running.spec.form, self._service.settings.chat
            async with open_encoder(form.audio_format, policy.encode_s, form.rate_hz) as encoder:
                speech = StreamedSpeech(running, self._service, response, encoder)
                await speech.send_events()
        await speech.send_end()

    def _started(self, response: SseResponse) -> AbstractAsyncContextManager[RunningReading]:
        """Only events have comments, which show a client that waits for a slot that it still waits."""
        if not self._form.events:
            return self._request
        policy = self._service.settings.chat
        headers_at_s = time.monotonic() + policy.headers_s
        return StartingRequest(self._request, response, headers_at_s, policy.silence_s)


async def _end_with_error(error: Exception, response: SseResponse) -> None:
    shown = error_of(error)
    if shown.status >= 500:
        _log.error("stream failed", exc_info=error)
    event = {"type": "speech.audio.error", **shown.body()}
    await response.end_response(frame(json.dumps(event, separators=(",", ":")).encode()))
