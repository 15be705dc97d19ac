"""The HTTP response of one chat request, whole or streamed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from antiphon_executor.interface.events import SpeechEnded, TextDelta
from antiphon_server.chat.preparation import Preparation
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerForm, RequestSpec
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.chunk_json import ChunkJson, to_json_list
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.completion import CompletionBuilder
from antiphon_server.chat.response.progress import ProgressMeter
from antiphon_server.chat.response.word_timestamps import TextEvent
from antiphon_server.chat.service import Service
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.http.streaming.conversation_response import ConversationResponse
from antiphon_server.http.streaming.sse import DONE, frame
from antiphon_server.http.streaming.streamed_answer import EventWriter
from antiphon_server.observability import request_trace
from antiphon_server.openai_api.response import Progress

# As often as the engine is asked how far a prompt has been read.
PROGRESS_EVERY_S = 1.0


class ChatResponse(ConversationResponse):
    """A `Completion`, or its chunks. `preparation`: what a client reads of that asks for progress."""

    def __init__(
        self,
        spec: RequestSpec,
        request: AbstractAsyncContextManager[RunningRequest],
        service: Service,
        rates: Callable[[], Mapping[str, str]],
        preparation: Preparation,
    ) -> None:
        super().__init__(spec.head, spec.form.stream, request, service, rates)
        self._form = spec.form
        self._preparation = preparation
        self._progress = ProgressMeter()
        if spec.form.include_progress:
            self.waiting_every_s = PROGRESS_EVERY_S

    def write_waiting(self) -> bytes:
        event = self._preparation.progress() if self._form.include_progress else None
        if event is None:
            return super().write_waiting()
        decoding = self._preparation.decoding
        progress = self._progress.read(event, time.monotonic(), decoding.seconds, decoding.decoded_s)
        writer = ChunkWriter(self._head, self._form, UsageMeter())
        return frame(writer.progress_chunk(progress).to_json())

    def builder_of(self, running: RunningRequest) -> CompletionBuilder:
        return CompletionBuilder(self._head, running.form, running.state.usage)

    def events_of(self, running: RunningRequest) -> EventWriter:
        writer = ChunkWriter(self._head, running.form, running.state.usage)
        return _ChunkEvents(writer, ChunkJson(writer, running.form), running.form)


class _ChunkEvents:
    """The chunks of an answer as events."""

    def __init__(self, writer: ChunkWriter, json: ChunkJson, form: AnswerForm) -> None:
        self._writer = writer
        self._json = json
        self._includes_timing = form.include_timing

    @property
    def transcript(self) -> str:
        return self._writer.transcript

    def begin(self) -> bytes:
        return _frames(to_json_list(self._writer.first_chunks()))

    def progress(self, progress: Progress) -> bytes:
        return frame(self._writer.progress_chunk(progress).to_json())

    def text(self, event: TextEvent) -> bytes:
        if isinstance(event, TextDelta):
            return _frames(self._json.text(event))
        return _frames(self._json.text_end(event))

    def speech(self, data: bytes, words: list[TimedWord]) -> bytes:
        return _frames(self._json.audio(data) + self._json.words(words))

    def end_speech(self, end: SpeechEnded) -> None:
        self._writer.end_speech(end)

    def end(self) -> bytes:
        chunks = self._writer.last_chunks()
        if self._includes_timing and (trace := request_trace.current.get()) is not None:
            chunks.append(self._writer.timing_chunk(trace.read()))
        return _frames(to_json_list(chunks)) + DONE


def _frames(chunks: list[bytes]) -> bytes:
    return b"".join([frame(json) for json in chunks])
