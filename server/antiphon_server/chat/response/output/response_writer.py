"""Writer of a response's events from the text and speech of its answer. It does no input or output."""

from __future__ import annotations

from antiphon_executor.interface.events import SpeechEnded, TextDelta, TextEnded, TokenLogprob
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.answer_parser import AnswerPart, answer_parser
from antiphon_server.chat.response.output.open_items import Events
from antiphon_server.chat.response.output.output_items import OutputItems
from antiphon_server.chat.response.output.response_events import ResponseEvents
from antiphon_server.chat.response.tool_calls import PlainText
from antiphon_server.chat.usage import UsageMeter


class ResponseWriter:
    """One answer's. Whole or streamed, it writes the same events; a whole answer is what they end with."""

    def __init__(self, events: ResponseEvents, head: AnswerHead, form: AnswerForm, meter: UsageMeter) -> None:
        self._events = events
        self._parser = answer_parser(form, meter)
        self._output = OutputItems(head, form, events.number)
        self._meter = meter
        self._logprobs: tuple[TokenLogprob, ...] = ()
        self._is_cut = False

    @property
    def transcript(self) -> str:
        """Of a spoken answer, until it ends."""
        return self._output.transcript

    @property
    def has_called(self) -> bool:
        return self._parser.has_called

    def begin(self) -> Events:
        return self._events.begin()

    def text(self, event: TextDelta | TextEnded) -> Events:
        if isinstance(event, TextDelta):
            self._logprobs += event.logprobs
            return self._add(self._parser.parse_text(event))
        self._is_cut |= event.finish_reason == "length"
        return self._add(self._parser.finish_text())

    def speech(self, data: bytes, words: list[TimedWord]) -> Events:
        """`data`: more bytes of the audio format."""
        return self._output.add_speech(data, words) if data or words else []

    def end_speech(self, end: SpeechEnded) -> None:
        self._is_cut |= end.finish_reason == "length"

    def add_file(self, data: bytes) -> None:
        """The whole audio of an answer that is not streamed."""
        self._output.add_file(data)

    def end(self) -> Events:
        ended = self._output.end("incomplete" if self._is_cut else "completed")
        return [*ended, *self._events.end(self._output.done, self._meter.usage(), cut=self._is_cut)]

    def _add(self, parts: list[AnswerPart]) -> Events:
        events: Events = []
        for part in parts:
            logprobs = self._logprobs if isinstance(part, PlainText) else ()
            events += self._output.add(part, logprobs)
            self._logprobs = ()
        return events
