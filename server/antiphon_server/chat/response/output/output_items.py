"""The output of one response so far: its items, and the events by which they begin, grow and end."""

from __future__ import annotations

from typing import TypeVar

from antiphon_executor.interface.events import TokenLogprob
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.answer_parser import AnswerPart, ReasoningText
from antiphon_server.chat.response.output.open_items import (
    Events,
    Number,
    OpenCall,
    OpenItem,
    OpenReasoning,
    OpenText,
)
from antiphon_server.chat.response.output.open_speech import OpenSpeech
from antiphon_server.chat.response.tool_calls import CalledTool, MoreArguments, PlainText
from antiphon_server.openai_api.responses.response import ItemStatus, OutputItem

T = TypeVar("T", bound=OpenReasoning | OpenText)


class OutputItems:
    """Each method returns the events of the change. One item is open, and speech beside it until the end."""

    def __init__(self, head: AnswerHead, form: AnswerForm, number: Number) -> None:
        self._head = head
        self._form = form
        self._number = number
        self._open: OpenReasoning | OpenText | OpenCall | None = None
        self._speech: OpenSpeech | None = None
        self._begun = 0
        self._done: dict[int, OutputItem] = {}

    @property
    def done(self) -> list[OutputItem]:
        return [item for _, item in sorted(self._done.items())]

    @property
    def transcript(self) -> str:
        return self._speech.transcript if self._speech else ""

    def add(self, part: AnswerPart, logprobs: tuple[TokenLogprob, ...] = ()) -> Events:
        """`logprobs`: of the tokens of a plain text."""
        match part:
            case ReasoningText():
                begun, reasoning = self._continue(OpenReasoning)
                return [*begun, *reasoning.add(part.text)]
            case PlainText() if self._form.speaks:
                begun, speech = self._continue_speech()
                return [*begun, *speech.add(part.text)]
            case PlainText():
                begun, text = self._continue(OpenText)
                return [*begun, *text.add(part.text, logprobs)]
            case CalledTool():
                return self._add_call(part)
            case MoreArguments():
                return self._open.add(part.text) if isinstance(self._open, OpenCall) else []

    def add_speech(self, data: bytes, words: list[TimedWord]) -> Events:
        begun, speech = self._continue_speech()
        return [*begun, *speech.add_speech(data, words)]

    def add_file(self, data: bytes) -> Events:
        """The whole audio of an answer that is not streamed."""
        begun, speech = self._continue_speech()
        speech.file = data
        return begun

    def end(self, status: ItemStatus) -> Events:
        """Ends what is open."""
        ended = self._end_open(status)
        if self._speech is None:
            return ended
        speech, self._speech = self._speech, None
        return [*ended, *self._end_item(speech, status)]

    def _add_call(self, call: CalledTool) -> Events:
        """A call whose arguments are there is whole; else `MoreArguments` follow."""
        ended = self._end_open("completed")
        self._open = OpenCall(self._next_index(), self._number, call)
        begun = [*ended, *self._open.begin()]
        if not call.arguments:
            return begun
        return [*begun, *self._open.add(call.arguments), *self._end_open("completed")]

    def _continue(self, kind: type[T]) -> tuple[Events, T]:
        """The open item, if it is of this kind, or a new one after it."""
        if isinstance(self._open, kind):
            return [], self._open
        ended = self._end_open("completed")
        item = kind(self._next_index(), self._number)
        self._open = item
        return [*ended, *item.begin()], item

    def _continue_speech(self) -> tuple[Events, OpenSpeech]:
        if self._speech is not None:
            return [], self._speech
        self._speech = OpenSpeech(self._next_index(), self._number, self._head, self._form)
        return self._speech.begin(), self._speech

    def _end_open(self, status: ItemStatus) -> Events:
        if self._open is None:
            return []
        item, self._open = self._open, None
        return self._end_item(item, status)

    def _end_item(self, item: OpenItem, status: ItemStatus) -> Events:
        self._done[item.index] = item.item(status)
        return item.end(status)

    def _next_index(self) -> int:
        self._begun += 1
        return self._begun - 1
