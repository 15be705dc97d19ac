"""Output items of a response while they are generated: each begins, grows and ends by events."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from antiphon_executor.interface.events import TokenLogprob
from antiphon_server.chat.response.chunks import write_logprobs
from antiphon_server.chat.response.tool_calls import CalledTool
from antiphon_server.openai_api import response as chat_wire
from antiphon_server.openai_api.responses import events as wire
from antiphon_server.openai_api.responses import response as items

Number = Callable[[], int]
Events = list[wire.Event]


class OpenItem(ABC):
    """One item. `index`: its place in the output. `number`: of the next event of the response."""

    prefix: ClassVar[str]

    def __init__(self, index: int, number: Number) -> None:
        self.id = f"{self.prefix}_{secrets.token_hex(16)}"
        self.index = index
        self._number = number

    def begin(self) -> Events:
        return [self._event("response.output_item.added", self.item("in_progress")), *self._begin_parts()]

    def end(self, status: items.ItemStatus) -> Events:
        """`status`: "incomplete" if the answer was cut off here."""
        return [*self._end_parts(), self._event("response.output_item.done", self.item(status))]

    @abstractmethod
    def item(self, status: items.ItemStatus) -> items.OutputItem:
        """The item so far. One that is in progress is shown empty."""

    @abstractmethod
    def _begin_parts(self) -> Events: ...

    @abstractmethod
    def _end_parts(self) -> Events: ...

    def _event(self, kind: wire.ItemEventType, item: items.OutputItem) -> wire.Event:
        return wire.ItemEvent(type=kind, sequence_number=self._number(), output_index=self.index, item=item)

    def _part(self, kind: wire.PartEventType, part: wire.Part) -> wire.Event:
        return wire.PartEvent(
            type=kind,
            sequence_number=self._number(),
            item_id=self.id,
            output_index=self.index,
            part=part,
        )


class OpenText(OpenItem):
    """A message of text."""

    prefix = "msg"

    def __init__(self, index: int, number: Number) -> None:
        super().__init__(index, number)
        self._pieces: list[str] = []
        self._logprobs: list[chat_wire.TokenLogprob] = []

    def add(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> Events:
        written = write_logprobs(logprobs).content
        self._pieces.append(text)
        self._logprobs += written
        return [
            wire.TextDeltaEvent(
                sequence_number=self._number(),
                item_id=self.id,
                output_index=self.index,
                delta=text,
                logprobs=written,
            )
        ]

    def item(self, status: items.ItemStatus) -> items.OutputItem:
        content: list[items.OutputText | items.OutputAudio] = []
        if status != "in_progress":
            content.append(self._text())
        return items.OutputMessage(id=self.id, status=status, content=content)

    def _text(self) -> items.OutputText:
        return items.OutputText(text="".join(self._pieces), logprobs=self._logprobs)

    def _begin_parts(self) -> Events:
        return [self._part("response.content_part.added", self._text())]

    def _end_parts(self) -> Events:
        done = wire.TextDoneEvent(
            sequence_number=self._number(),
            item_id=self.id,
            output_index=self.index,
            text="".join(self._pieces),
            logprobs=self._logprobs,
        )
        return [done, self._part("response.content_part.done", self._text())]


class OpenReasoning(OpenItem):
    prefix = "rs"

    def __init__(self, index: int, number: Number) -> None:
        super().__init__(index, number)
        self._pieces: list[str] = []

    def add(self, text: str) -> Events:
        self._pieces.append(text)
        return [
            wire.ReasoningDeltaEvent(
                sequence_number=self._number(), item_id=self.id, output_index=self.index, delta=text
            )
        ]

    def item(self, status: items.ItemStatus) -> items.OutputItem:
        content = [self._text()] if status != "in_progress" else []
        return items.OutputReasoning(id=self.id, status=status, content=content)

    def _text(self) -> items.ReasoningText:
        return items.ReasoningText(text="".join(self._pieces))

    def _begin_parts(self) -> Events:
        return [self._part("response.content_part.added", self._text())]

    def _end_parts(self) -> Events:
        done = wire.ReasoningDoneEvent(
            sequence_number=self._number(),
            item_id=self.id,
            output_index=self.index,
            text="".join(self._pieces),
        )
        return [done, self._part("response.content_part.done", self._text())]


class OpenCall(OpenItem):
    """A call of a function. All of its arguments come by `add`."""

    prefix = "fc"

    def __init__(self, index: int, number: Number, call: CalledTool) -> None:
        super().__init__(index, number)
        self._call = call
        self._pieces: list[str] = []

    def add(self, arguments: str) -> Events:
        self._pieces.append(arguments)
        return [
            wire.ArgumentsDeltaEvent(
                sequence_number=self._number(), item_id=self.id, output_index=self.index, delta=arguments
            )
        ]

    def item(self, status: items.ItemStatus) -> items.OutputItem:
        return items.OutputCall(
            id=self.id,
            status=status,
            call_id=self._call.id,
            name=self._call.name,
            arguments="".join(self._pieces),
        )

    def _begin_parts(self) -> Events:
        return []

    def _end_parts(self) -> Events:
        return [
            wire.ArgumentsDoneEvent(
                sequence_number=self._number(),
                item_id=self.id,
                output_index=self.index,
                name=self._call.name,
                arguments="".join(self._pieces),
            )
        ]
