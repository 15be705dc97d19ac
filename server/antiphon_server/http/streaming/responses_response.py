"""The HTTP response of `POST /v1/responses`, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from antiphon_executor.interface.events import SpeechEnded
from antiphon_server.chat.field_names import FieldNames
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.output.open_items import Events
from antiphon_server.chat.response.output.response_builder import ResponseBuilder
from antiphon_server.chat.response.output.response_events import ResponseEvents
from antiphon_server.chat.response.output.response_writer import ResponseWriter
from antiphon_server.chat.response.word_timestamps import TextEvent
from antiphon_server.chat.responses_spec import ResponsesSpec
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.http.streaming.conversation_response import ConversationResponse
from antiphon_server.http.streaming.streamed_answer import EventWriter
from antiphon_server.openai_api.response import Progress


class ResponsesResponse(ConversationResponse):
    """A `Response`, or its events. Once the stream has begun, a failure is `response.failed`."""

    def __init__(
        self,
        spec: ResponsesSpec,
        request: AbstractAsyncContextManager[RunningRequest],
        service: Service,
        rates: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        one = spec.request
        super().__init__(one.head, one.form.stream, _naming(spec.names, request), service, rates)
        self._response = spec.response
        self._events = ResponseEvents(spec.response)

    def builder_of(self, running: RunningRequest) -> ResponseBuilder:
        return ResponseBuilder(self._response, self._head, running.form, running.state.usage)

    def events_of(self, running: RunningRequest) -> EventWriter:
        return _ResponseFrames(ResponseWriter(self._events, self._head, running.form, running.state.usage))

    def error_event(self, error: ApiError) -> bytes:
        return _frames(self._events.fail(error))


@asynccontextmanager
async def _naming(
    names: FieldNames, request: AbstractAsyncContextManager[RunningRequest]
) -> AsyncIterator[RunningRequest]:
    """The same request; its errors name the client's fields."""
    with names.in_errors():
        async with request as running:
            yield running


class _ResponseFrames:
    """The events of a response as they are sent."""

    def __init__(self, writer: ResponseWriter) -> None:
        self._writer = writer

    @property
    def transcript(self) -> str:
        return self._writer.transcript

    def begin(self) -> bytes:
        return _frames(self._writer.begin())

    def progress(self, progress: Progress) -> bytes:
        """Responses have no event for it."""
        return b""

    def text(self, event: TextEvent) -> bytes:
        return _frames(self._writer.text(event))

    def speech(self, data: bytes, words: list[TimedWord]) -> bytes:
        return _frames(self._writer.speech(data, words))

    def end_speech(self, end: SpeechEnded) -> None:
        self._writer.end_speech(end)

    def end(self) -> bytes:
        return _frames(self._writer.end())


def _frames(events: Events) -> bytes:
    return b"".join([event.to_frame() for event in events])
