"""The limits of the admission controller: what the operator sets and what the engines hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from antiphon_executor.interface.capacity import EngineCapacity

# Of keys without a class of their own.
DEFAULT_CLASS = "default"


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of the keys of one class. None: that of all keys; 0: no limit."""

    requests: int | None = None
    tokens_per_minute: float | None = None
    audio_seconds_per_minute: float | None = None


class KeyClasses(Protocol):
    """The classes of API keys. `owner`: stands for a key, "" without keys."""

    def class_of(self, owner: str) -> str: ...

    def limits_of(self, owner: str) -> KeyLimits: ...


class OneClass:
    """All keys have the same limits."""

    def class_of(self, owner: str) -> str:
        return DEFAULT_CLASS

    def limits_of(self, owner: str) -> KeyLimits:
        return KeyLimits()


@dataclass(frozen=True, slots=True)
class Capacity:
    """0 in a field with a default: no limit.

    `sequences`: texts generated at once. `streams`: answers spoken at once. `queued_requests`: how many of
    each kind may wait beyond those. `queue_s`: the longest wait. `queued_media_seconds`: audio and video of
    waiting requests. `media_bytes`: decoded media of all requests. `requests_per_key`: how many of one key
    run at once. `prefill_s`: how long the Thinker may need for all prompts that it has not read.
    `answer_tokens`, `speech_s`: reserved for an answer whose length is not known. `real_time`: start no more
    live streams than the Talker can generate in real time.
    """

    sequences: int
    streams: int
    queued_requests: int
    queued_media_seconds: float
    queue_s: float
    media_bytes: int
    requests_per_key: int = 0
    queued_prompt_tokens: int = 0
    prefill_s: float = 0.0
    answer_tokens: int = 1_024
    speech_s: float = 60.0
    real_time: bool = True
    tokens_per_minute: int = 0
    audio_seconds_per_minute: float = 0.0
    engines: EngineCapacity = field(default_factory=EngineCapacity)

    def side_by_side(self, most: int, choices: int = 1) -> int:
        """How many texts of one key, of `choices` each, can start together: at most `most`, at least 1.

        More would wait for each other until the queue's deadline.
        """
        return max(min(most, self.requests_per_key or most, self.sequences // choices), 1)
