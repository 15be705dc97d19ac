"""How much the door lets in, and how much is inside.

In: the operator's limits and what the engines hold. Out: frozen figures. Nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from antiphon_executor.interface.capacity import EngineCapacity

# Also the `code` of the error that the client sees, but for the last two: those are OpenAI's.
Refusal = Literal[
    "queue_full",
    "displaced",
    "queue_deadline",
    "key_concurrency",
    "not_in_real_time",
    "prefill_queue_full",
    "media_memory_full",
    "media_queue_full",
    "no_speech",
    "token_rate",
    "audio_rate",
]


@dataclass(frozen=True, slots=True)
class Capacity:
    """`sequences`: texts written at once. `streams`: answers spoken at once. `media_bytes`: decoded media of
    all turns, waiting and running. `turns_per_key`: how many of one key run at once.

    `queued_*` and `queue_s` bound the queue; `prefill_s`: how long all prompts not read yet may take.
    `answer_tokens`, `speech_s`: what is kept free for an answer before it is known how long it gets.
    `real_time`: no more listeners than the Talker keeps up with. A 0 in what has a default: no limit.
    """

    sequences: int
    streams: int
    queued_turns: int
    queued_media_seconds: float
    queue_s: float
    media_bytes: int
    turns_per_key: int = 0
    queued_prompt_tokens: int = 0
    prefill_s: float = 0.0
    answer_tokens: int = 1_024
    speech_s: float = 60.0
    real_time: bool = True
    tokens_per_minute: int = 0
    audio_seconds_per_minute: float = 0.0
    engines: EngineCapacity = field(default_factory=EngineCapacity)


@dataclass(frozen=True, slots=True)
class Price:
    """What a turn holds while it runs. `live`: 1 where somebody listens while it is spoken."""

    sequences: int = 0
    thinker_blocks: int = 0
    streams: int = 0
    live: int = 0
    talker_blocks: int = 0

    @property
    def spoken_part(self) -> Price:
        """What is left of it once the text is written."""
        return Price(streams=self.streams, live=self.live, talker_blocks=self.talker_blocks)

    def is_less_somewhere(self, other: Price) -> bool:
        """Whether some resource is left to others that `other` takes."""
        return (
            self.sequences < other.sequences
            or self.thinker_blocks < other.thinker_blocks
            or self.streams < other.streams
            or self.live < other.live
            or self.talker_blocks < other.talker_blocks
        )

    def __add__(self, other: Price) -> Price:
        return Price(
            self.sequences + other.sequences,
            self.thinker_blocks + other.thinker_blocks,
            self.streams + other.streams,
            self.live + other.live,
            self.talker_blocks + other.talker_blocks,
        )

    def __sub__(self, other: Price) -> Price:
        return Price(
            self.sequences - other.sequences,
            self.thinker_blocks - other.thinker_blocks,
            self.streams - other.streams,
            self.live - other.live,
            self.talker_blocks - other.talker_blocks,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """The state of the door, for metrics. `admitted`, `refused` and `softened` count since the start.

    `running`: what all turns that have started hold, of `whole`. `live_limit`: how many listeners the Talker
    keeps up with; None while nobody knows. `frame_s`: what a Talker step takes with the streams there are.
    `prompt_tokens`: not read yet, at `prefill_rate` tokens a second; 0 until one was measured.
    """

    running: Price
    whole: Price
    waiting_text: int
    waiting_speech: int
    queued_media_seconds: float
    media_bytes: int
    live_limit: int | None = None
    frame_s: float = 0.0
    prompt_tokens: int = 0
    prefill_rate: float = 0.0
    keys: int = 0
    admitted: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    softened: int = 0

    @property
    def running_sequences(self) -> int:
        return self.running.sequences

    @property
    def running_streams(self) -> int:
        return self.running.streams
