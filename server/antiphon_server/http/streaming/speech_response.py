"""The HTTP response of a text that is read aloud. A client that disconnects ends the request.

Errors before the first byte are raised and become an HTTP status. Later, a stream of events ends with an
error event, and audio breaks off without the end of its chunked encoding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from starlette.types import Receive, Scope, Send

from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.http.streaming.answer_response import AnswerResponse
from antiphon_server.http.streaming.sse import SseResponse, frame
from antiphon_server.http.streaming.starting_request import StartingRequest
from antiphon_server.http.streaming.streamed_speech import StreamedSpeech
from antiphon_server.media.encode import open_encoder
from antiphon_server.speech.reading_run import RunningReading
from antiphon_server.speech.reading_spec import SpeechForm


class AudioBrokenOff(Exception):
    """The speech failed after its first byte. No status can tell it any more."""


class SpeechResponse(AnswerResponse):
    """Always a stream: of events, or of the bytes of an audio file."""

    def __init__(
        self,
        form: SpeechForm,
        request: AbstractAsyncContextManager[RunningReading],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(True, service, rates, form.media_type)
        self._form = form
        self._request = request

    async def send_whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def send_events(self, sse: SseResponse) -> None:
        async with self._started(sse) as running:
            form, policy = running.spec.form, self._service.settings.chat
            async with open_encoder(form.audio_format, policy.encode_s, form.rate_hz) as encoder:
                speech = StreamedSpeech(running, self._service, sse, encoder)
                await speech.send_events()
        await speech.send_end()

    async def end_with_error(self, error: Exception, sse: SseResponse) -> None:
        if not self._form.events:
            raise AudioBrokenOff from error
        await super().end_with_error(error, sse)

    def error_event(self, error: ApiError) -> bytes:
        event = {"type": "speech.audio.error", **error.body()}
        return frame(json.dumps(event, separators=(",", ":")).encode())

    def _started(self, sse: SseResponse) -> AbstractAsyncContextManager[RunningReading]:
        """Only events have comments, which show a client that waits for a slot that it still waits."""
        if not self._form.events:
            return self._request
        policy = self._service.settings.chat
        headers_at_s = time.monotonic() + policy.headers_s
        return StartingRequest(self._request, sse, headers_at_s, policy.silence_s)
