"""The HTTP response of one chat request, whole or streamed."""

from __future__ import annotations

from antiphon_executor.interface.events import SpeechEnded, TextDelta
from antiphon_server.chat.request_run import RunningRequest
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.chunk_json import ChunkJson, to_json_list
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.completion import CompletionBuilder
from antiphon_server.chat.response.word_timestamps import TextEvent
from antiphon_server.http.streaming.conversation_response import ConversationResponse
from antiphon_server.http.streaming.sse import DONE, frame
from antiphon_server.http.streaming.streamed_answer import EventWriter
from antiphon_server.observability import request_trace
from antiphon_server.openai_api.response import Progress


class ChatResponse(ConversationResponse):
    """A `Completion`, or its chunks."""

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
