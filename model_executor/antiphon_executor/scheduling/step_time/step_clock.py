"""Measures how long each step of an engine took, also with async scheduling, where steps overlap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StepLength:
    """`streams`: requests that ran. `prompt_tokens`: tokens beyond one for each.

    `encoded_tokens`: of media. `context`: tokens computed before of the longest prompt in it.
    """

    streams: int
    prompt_tokens: int
    seconds: float
    encoded_tokens: int = 0
    context: int = 0


@dataclass(frozen=True, slots=True)
class _Begun:
    step: object
    at_s: float
    streams: int
    prompt_tokens: int
    encoded_tokens: int
    context: int


class StepClock:
    """A step lasts from its scheduling, or from the end of the step before if that is later."""

    def __init__(self) -> None:
        self._begun: deque[_Begun] = deque()
        self._ended_s = 0.0

    def step_scheduled(
        self,
        step: object,
        now_s: float,
        streams: int,
        tokens: int,
        encoded_tokens: int = 0,
        context: int = 0,
    ) -> None:
        """`tokens`: of all streams together."""
        self._begun.append(_Begun(step, now_s, streams, tokens - streams, encoded_tokens, context))

    def step_finished(self, step: object, now_s: float) -> StepLength | None:
        """The length of `step`; None if it computed nothing."""
        if not self._begun or self._begun[0].step is not step:
            return None
        begun = self._begun.popleft()
        seconds = now_s - max(begun.at_s, self._ended_s)
        self._ended_s = now_s
        return StepLength(begun.streams, begun.prompt_tokens, seconds, begun.encoded_tokens, begun.context)
