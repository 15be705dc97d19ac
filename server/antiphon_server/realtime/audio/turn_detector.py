"""Detector of turns: from the probability of speech in each frame to where speech begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.openai_api.realtime.session import SemanticVad, ServerVad

FRAME = 512
_START_FRAMES = 3
_TAIL = INPUT_SAMPLE_RATE_HZ // 5
_HYSTERESIS, _LEAST_THRESHOLD = 0.15, 0.01
# Without a model of the end of a turn its eagerness chooses the silence that ends it.
_SILENCE_MS = {"low": 1_200, "medium": 640, "auto": 640, "high": 320}


@dataclass(frozen=True, slots=True)
class TurnRule:
    """`longest`: samples after which an utterance is cut."""

    threshold: float
    padding: int
    silence: int
    longest: int


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The sound is kept from sample `start` on, with the padding. `at`: where its frame ends."""

    start: int
    at: int


@dataclass(frozen=True, slots=True)
class SpeechSoFar:
    """An utterance that goes on: samples `start` to `until` are certainly of it.

    `has_paused`: they are all of it, unless speech goes on.
    """

    start: int
    until: int
    has_paused: bool


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The utterance is samples `start` to `end`. `speech_end`: where its last speech ended."""

    start: int
    end: int
    speech_end: int


def turn_rule(asked: ServerVad | SemanticVad, longest_s: float) -> TurnRule:
    longest = round(longest_s * INPUT_SAMPLE_RATE_HZ)
    if isinstance(asked, ServerVad):
        return TurnRule(
            asked.threshold, _samples(asked.prefix_padding_ms), _samples(asked.silence_duration_ms), longest
        )
    return TurnRule(
        ServerVad.model_fields["threshold"].default,
        _samples(300),
        _samples(_SILENCE_MS[asked.eagerness]),
        longest,
    )


class TurnDetector:
    """One stream's frames, in order. Samples count from the beginning of the connection's input."""

    def __init__(self, rule: TurnRule, first_sample: int = 0) -> None:
        self.rule = rule
        self.at = first_sample
        self._free_from = first_sample
        self._voiced_frames = 0
        self._start: int | None = None
        self._silent_from: int | None = None

    @property
    def speaking(self) -> bool:
        return self._start is not None

    @property
    def is_voiced(self) -> bool:
        """Whether speech goes on, and has not just paused."""
        return self._start is not None and self._silent_from is None

    @property
    def speech(self) -> SpeechSoFar | None:
        if self._start is None:
            return None
        if self._silent_from is None:
            return SpeechSoFar(self._start, self.at, has_paused=False)
        tail_end = self._silent_from + _TAIL
        return SpeechSoFar(self._start, min(tail_end, self.at), self.at >= tail_end)

    @property
    def needed_from(self) -> int:
        """Samples before this one are in no utterance to come."""
        if self._start is not None:
            return self._start
        return max(self.at - _START_FRAMES * FRAME - self.rule.padding, self._free_from)

    def add_frame(self, probability: float) -> SpeechStarted | SpeechStopped | None:
        begin = self.at
        self.at += FRAME
        if self._start is None:
            return self._wait_for_speech(begin, probability)
        return self._wait_for_silence(begin, self._start, probability)

    def _wait_for_speech(self, begin: int, probability: float) -> SpeechStarted | None:
        self._voiced_frames = self._voiced_frames + 1 if probability >= self.rule.threshold else 0
        if self._voiced_frames < _START_FRAMES:
            return None
        spoken = begin - (_START_FRAMES - 1) * FRAME
        self._voiced_frames, self._silent_from = 0, None
        self._start = max(spoken - self.rule.padding, self._free_from)
        return SpeechStarted(self._start, self.at)

    def _wait_for_silence(self, begin: int, start: int, probability: float) -> SpeechStopped | None:
        if probability >= self.rule.threshold:
            self._silent_from = None
        elif self._silent_from is None and probability < max(
            self.rule.threshold - _HYSTERESIS, _LEAST_THRESHOLD
        ):
            self._silent_from = begin
        if self._silent_from is not None and self.at - self._silent_from >= self.rule.silence:
            return self._stop(start, min(self._silent_from + _TAIL, self.at), self._silent_from)
        if self.at - start >= self.rule.longest:
            return self._stop(start, self.at, self.at)
        return None

    def _stop(self, start: int, end: int, speech_end: int) -> SpeechStopped:
        self._start = self._silent_from = None
        self._free_from = end
        return SpeechStopped(start, end, speech_end)


def _samples(ms: int) -> int:
    return ms * INPUT_SAMPLE_RATE_HZ // 1_000
