"""The events of a streamed response, as OpenAI orders them. `sequence_number` counts all of one stream."""

from __future__ import annotations

from typing import Literal

from antiphon_server.openai_api.response import TokenLogprob, Word
from antiphon_server.openai_api.responses.response import (
    OutputAudio,
    OutputItem,
    OutputText,
    ReasoningText,
    Response,
    WireModel,
)

ResponseEventType = Literal[
    "response.created",
    "response.in_progress",
    "response.completed",
    "response.incomplete",
    "response.failed",
]
ItemEventType = Literal["response.output_item.added", "response.output_item.done"]
PartEventType = Literal["response.content_part.added", "response.content_part.done"]
Part = OutputText | OutputAudio | ReasoningText


class Event(WireModel):
    """One event: its `type` names it in the stream too."""

    type: str
    sequence_number: int

    def to_frame(self) -> bytes:
        """The event in a stream of server-sent events."""
        return b"event: " + self.type.encode() + b"\ndata: " + self.to_json() + b"\n\n"


class ResponseEvent(Event):
    """The response as a whole: as it begins, and as it ends."""

    type: ResponseEventType
    response: Response


class ItemEvent(Event):
    """An item of the output begins, still empty, or is complete."""

    type: ItemEventType
    output_index: int
    item: OutputItem


class _OfItem(Event):
    item_id: str
    output_index: int


class _OfPart(_OfItem):
    content_index: int = 0


class PartEvent(_OfPart):
    type: PartEventType
    part: Part


class TextDeltaEvent(_OfPart):
    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    delta: str
    logprobs: list[TokenLogprob]


class TextDoneEvent(_OfPart):
    type: Literal["response.output_text.done"] = "response.output_text.done"
    text: str
    logprobs: list[TokenLogprob]


class ReasoningDeltaEvent(_OfPart):
    type: Literal["response.reasoning_text.delta"] = "response.reasoning_text.delta"
    delta: str


class ReasoningDoneEvent(_OfPart):
    type: Literal["response.reasoning_text.done"] = "response.reasoning_text.done"
    text: str


class ArgumentsDeltaEvent(_OfItem):
    type: Literal["response.function_call_arguments.delta"] = "response.function_call_arguments.delta"
    delta: str


class ArgumentsDoneEvent(_OfItem):
    type: Literal["response.function_call_arguments.done"] = "response.function_call_arguments.done"
    name: str
    arguments: str


class AudioDeltaEvent(_OfPart):
    """`delta`: base64 of more of the audio. `words`: those that it ends with, if timestamps are asked for."""

    type: Literal["response.audio.delta"] = "response.audio.delta"
    delta: str
    words: list[Word]


class AudioDoneEvent(_OfPart):
    type: Literal["response.audio.done"] = "response.audio.done"


class TranscriptDeltaEvent(_OfPart):
    type: Literal["response.audio.transcript.delta"] = "response.audio.transcript.delta"
    delta: str


class TranscriptDoneEvent(_OfPart):
    type: Literal["response.audio.transcript.done"] = "response.audio.transcript.done"
    transcript: str


AnyEvent = (
    ResponseEvent
    | ItemEvent
    | PartEvent
    | TextDeltaEvent
    | TextDoneEvent
    | ReasoningDeltaEvent
    | ReasoningDoneEvent
    | ArgumentsDeltaEvent
    | ArgumentsDoneEvent
    | AudioDeltaEvent
    | AudioDoneEvent
    | TranscriptDeltaEvent
    | TranscriptDoneEvent
)
