"""Builder of a whole response from a request's events. It does no input or output."""

from __future__ import annotations

from antiphon_executor.interface.events import SpeechDelta, SpeechEnded, TextDelta, TextEnded
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import Alignment
from antiphon_server.chat.response.output.response_events import ResponseEvents
from antiphon_server.chat.response.output.response_writer import ResponseWriter
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.openai_api.responses.response import Response


class ResponseBuilder:
    """The `AnswerWriter` of a response that is not streamed. `pcm`: its speech so far."""

    def __init__(self, response: Response, head: AnswerHead, form: AnswerForm, meter: UsageMeter) -> None:
        self._form = form
        self._events = ResponseEvents(response)
        self._writer = ResponseWriter(self._events, head, form, meter)
        self._alignment = Alignment() if form.speaks and form.timestamps else None
        self.pcm = bytearray()

    @property
    def transcript(self) -> str:
        return self._writer.transcript

    @property
    def has_called(self) -> bool:
        return self._writer.has_called

    def add_text(self, delta: TextDelta) -> None:
        if self._alignment is not None:
            self._alignment.add_text(delta)
        self._writer.text(delta)

    def end_text(self, end: TextEnded) -> None:
        if self._alignment is not None:
            self._alignment.end_text()
        self._writer.text(end)

    def add_speech(self, delta: SpeechDelta) -> None:
        if self._alignment is not None:
            self._alignment.add_speech(delta)
        self.pcm += delta.pcm

    async def end_speech(self, end: SpeechEnded) -> None:
        if self._alignment is not None:
            self._alignment.end_speech(end.finish_reason)
        self._writer.end_speech(end)

    def body(self, audio_file: bytes) -> bytes:
        """`audio_file`: the encoded speech; empty for a text answer."""
        if self._alignment is not None:
            self._writer.speech(b"", self._alignment.timed_words())
        if self.pcm or self.transcript:
            self._writer.add_file(audio_file)
        self._writer.end()
        return self._events.response.to_json()
