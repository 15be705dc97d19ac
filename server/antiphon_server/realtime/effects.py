"""What the state machine asks its connection to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_server.openai_api.options import VoiceId
from antiphon_server.openai_api.realtime.session import (
    InputTranscription,
    OutputFormat,
    TokenLimit,
    ToolChoice,
    Tools,
    Truncation,
)
from antiphon_server.realtime.audio.sound import HeardSound, Samples
from antiphon_server.realtime.items import Event, HeardPart, Item
from antiphon_server.realtime.open_response import OpenResponse


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """What the model is asked for. `items`: that it is shown, in order.

    `is_default`: they are those of the conversation, whose oldest may be left out on a full context.
    """

    items: tuple[Item, ...]
    instructions: str
    speaks: bool
    voice: str | VoiceId | None
    output_format: OutputFormat
    tools: Tools
    tool_choice: ToolChoice
    max_output_tokens: TokenLimit
    truncation: Truncation
    is_default: bool


@dataclass(frozen=True, slots=True)
class StartResponse:
    response: OpenResponse
    plan: ResponsePlan


@dataclass(frozen=True, slots=True)
class StopResponse:
    """The response has ended for the client; its request is aborted."""

    response: OpenResponse


@dataclass(frozen=True, slots=True)
class Transcribe:
    item_id: str
    content_index: int
    part: HeardPart
    asked: InputTranscription


@dataclass(frozen=True, slots=True)
class Listen:
    """Detect speech in these samples."""

    samples: Samples


Effect = StartResponse | StopResponse | Transcribe | Listen


@dataclass(slots=True)
class Step:
    """What follows from one input: events for the client, in order, and effects.

    `unheard_samples`: of speech that counted as heard before. `heard`: what the user said in a turn, all of
    which was `Turns.speech`.
    """

    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    unheard_samples: int = 0
    heard: list[HeardSound] = field(default_factory=list)

    def add(self, other: Step) -> None:
        self.events += other.events
        self.effects += other.effects
        self.unheard_samples += other.unheard_samples
        self.heard += other.heard
