"""One response while it is generated: it opens items and parts, and closes in order what is open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from antiphon_server.openai_api.response import Usage
from antiphon_server.realtime.audio.spoken_sound import SpokenSound
from antiphon_server.realtime.conversation import Conversation
from antiphon_server.realtime.event_writer import EventWriter
from antiphon_server.realtime.generated_text import GeneratedText
from antiphon_server.realtime.items import Call, Event, Item, Message, SpokenPart, TextPart

Ending = Literal["completed", "cancelled", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended. `reason`: of "cancelled" and "incomplete"; `error`: of "failed"."""

    status: Ending = "completed"
    reason: str | None = None
    error: dict[str, Any] | None = None

    def details(self) -> Event | None:
        if self.status == "completed":
            return None
        details: Event = {"type": self.status, "reason": self.reason, "error": self.error}
        return {name: value for name, value in details.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response shows from its beginning. `speaks`: in audio, with its transcript."""

    id: str
    speaks: bool
    conversation_id: str | None
    metadata: dict[str, str] | None
    shown: Event = field(default_factory=dict)


class OpenResponse:
    """`conversation`: None for a response beside it. After `end` nothing may follow."""

    def __init__(
        self,
        head: ResponseHead,
        writer: EventWriter,
        conversation: Conversation | None,
        usage: Callable[[], Usage | None] = lambda: None,
    ) -> None:
        self.head = head
        self.usage = usage
        self.sound = SpokenSound()
        self.generated = GeneratedText()
        self._writer = writer
        self._conversation = conversation
        self._output: list[Item] = []
        self._open: Message | Call | None = None
        self._part: TextPart | SpokenPart = TextPart("")
        self.has_ended = False
        # How many samples of the sound the client can have played by now.
        self.played: Callable[[], int] = lambda: self.sound.samples

    @property
    def open_id(self) -> str | None:
        """The id of the open item."""
        return None if self._open is None else self._open.id

    def begin(self) -> list[Event]:
        return [self._event("response.created", response=self._show("in_progress", None))]

    def add_text(self, text: str, start_s: float | None = None) -> list[Event]:
        """Text of the answer or, if it speaks, of its transcript; it is spoken at `start_s` of the sound."""
        events = self._open_message()
        if self.head.speaks:
            part = self._spoken_part()
            part.transcript += text
            timed = {} if start_s is None else {"start_time": round(start_s, 3)}
            kind = "response.output_audio_transcript.delta"
            return [*events, self._part_event(kind, delta=text, **timed)]
        self._text_part().text += text
        return [*events, self._part_event("response.output_text.delta", delta=text)]

    def add_audio(self, encoded: str) -> list[Event]:
        """`encoded`: base64 of more audio."""
        events = self._open_message()
        return [*events, self._part_event("response.output_audio.delta", delta=encoded)]

    def begin_call(self, call_id: str, name: str) -> list[Event]:
        closing = self._close_open("completed")
        self._open = Call(self._writer.make_id("item"), call_id, name, status="in_progress")
        return [*closing, *self._open_item(self._open)]

    def add_arguments(self, text: str) -> list[Event]:
        if not isinstance(self._open, Call):
            raise TypeError("no call is open")
        self._open.arguments += text
        kind = "response.function_call_arguments.delta"
        return [self._item_event(kind, call_id=self._open.call_id, delta=text)]

    def close_item(self) -> list[Event]:
        """The open message or call is complete."""
        return self._close_open("completed")

    def end(self, outcome: Outcome) -> list[Event]:
        """Closes what is open, then the response."""
        if self.has_ended:
            return []
        complete = outcome.status == "completed"
        closing = self._close_open("completed" if complete else "incomplete")
        self.has_ended = True
        return [
            *closing,
            self._event("response.done", response=self._show(outcome.status, outcome.details())),
        ]

    def _open_message(self) -> list[Event]:
        if isinstance(self._open, Message):
            return []
        closing = self._close_open("completed")
        self._open = Message(self._writer.make_id("item"), "assistant", status="in_progress")
        events = [*closing, *self._open_item(self._open)]
        self._part = (
            SpokenPart("", self.sound, self.generated)
            if self.head.speaks
            else TextPart("", is_output=True, generated=self.generated)
        )
        part = {"type": "audio", "transcript": ""} if self.head.speaks else {"type": "text", "text": ""}
        return [*events, self._part_event("response.content_part.added", part=part)]

    def _open_item(self, item: Message | Call) -> list[Event]:
        self._output.append(item)
        shown = item.show()
        events = [self._item_event("response.output_item.added", item=shown, own=False)]
        if self._conversation is not None:
            previous = self._conversation.add(item)
            events.append(self._event("conversation.item.added", previous_item_id=previous, item=shown))
        return events

    def _close_open(self, status: Literal["completed", "incomplete"]) -> list[Event]:
        match self._open:
            case None:
                return []
            case Call():
                events = self._close_call(self._open)
            case Message():
                events = self._close_part(self._open)
        item, self._open = self._open, None
        item.status = status
        at = len(self._output) - 1
        if self._conversation is not None:
            self._conversation.recount()
            previous = self._conversation.before(item.id)
            events.append(self._event("conversation.item.done", previous_item_id=previous, item=item.show()))
        done = {"response_id": self.head.id, "output_index": at, "item": item.show()}
        return [*events, self._event("response.output_item.done", **done)]

    def _close_call(self, call: Call) -> list[Event]:
        kind = "response.function_call_arguments.done"
        return [self._item_event(kind, call_id=call.call_id, name=call.name, arguments=call.arguments)]

    def _close_part(self, message: Message) -> list[Event]:
        part = self._part
        message.parts.append(part)
        if isinstance(part, TextPart):
            shown = {"type": "text", "text": part.text}
            closing = [self._part_event("response.output_text.done", text=part.text)]
        else:
            shown = {"type": "audio", "transcript": part.transcript}
            done = self._part_event("response.output_audio_transcript.done", transcript=part.transcript)
            closing = [self._part_event("response.output_audio.done"), done]
        return [*closing, self._part_event("response.content_part.done", part=shown)]

    def _spoken_part(self) -> SpokenPart:
        if not isinstance(self._part, SpokenPart):
            raise TypeError("the response is in text")
        return self._part

    def _text_part(self) -> TextPart:
        if not isinstance(self._part, TextPart):
            raise TypeError("the response is in audio")
        return self._part

    def _part_event(self, kind: str, **fields: Any) -> Event:
        return self._item_event(kind, content_index=0, **fields)

    def _item_event(self, kind: str, own: bool = True, **fields: Any) -> Event:
        item_id = {"item_id": self._output[-1].id} if own else {}
        place = {"response_id": self.head.id, **item_id, "output_index": len(self._output) - 1}
        return self._event(kind, **place, **fields)

    def _event(self, kind: str, **fields: Any) -> Event:
        return self._writer.event(kind, **fields)

    def _show(self, status: str, details: Event | None) -> Event:
        usage = None if status == "in_progress" else self.usage()
        return {
            "object": "realtime.response",
            "id": self.head.id,
            "status": status,
            "status_details": details,
            "output": [item.show() for item in self._output],
            "conversation_id": self.head.conversation_id,
            "metadata": self.head.metadata,
            **self.head.shown,
            "usage": None if usage is None else show_usage(usage),
        }


def show_usage(usage: Usage) -> Event:
    prompt, answer = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = prompt.cached_tokens
    return {
        "total_tokens": usage.total_tokens,
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "input_token_details": {
            "text_tokens": prompt.text_tokens,
            "audio_tokens": prompt.audio_tokens,
            "image_tokens": prompt.image_tokens,
            "cached_tokens": cached,
            "cached_tokens_details": None,
        },
        "output_token_details": {
            "text_tokens": answer.text_tokens,
            "audio_tokens": answer.audio_tokens,
        },
    }
