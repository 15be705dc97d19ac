"""The tokens of the Thinker's next step: as many as take a given time, by the steps before.

Other requests get tokens, and an aborted one ends, only between two steps. At 80,000 tokens of context a CPU
takes seconds for a step of 2,048.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.scheduling.step_time.step_clock import StepLength

STEP_S = 0.35
# While speech is generated, which needs tokens of text: at most about as long as a step of the Talker.
PLAYING_STEP_S = 0.1
# Of a step of `STEP_S`: the least product of tokens and context, so that what each step costs besides stays a
# small part of it: 256 tokens of a short prompt, 64 at 131,072.
_LEAST_WORK = 256 * 32_768
_MOST_LEAST_TOKENS = 256
# Whole chunks of a gated-DeltaNet layer.
_CHUNK_TOKENS = 64
_LEAST_TOKENS = 16
# Of a step's measurement after each later one. A window of media is encoded in one of several steps.
_KEPT = 0.5


@dataclass
class StepBudget:
    """`context`: tokens computed of the longest prompt that is being read. `step_s`: the time of a step."""

    _seconds: float = 0.0
    _tokens: float = 0.0

    def measured(self, step: StepLength, context: int) -> None:
        # The time of smaller steps is that of what each step costs besides. Another request may take half.
        if step.prompt_tokens + 1 >= least_tokens(context, PLAYING_STEP_S) // 2:
            self._seconds = self._seconds * _KEPT + step.seconds
            self._tokens = self._tokens * _KEPT + step.prompt_tokens

    def tokens(self, limit: int, context: int, step_s: float) -> int:
        """At most `limit`."""
        if not self._tokens or not self._seconds:
            return limit
        wanted = int(step_s * self._tokens / self._seconds)
        return min(limit, max(_whole(wanted), least_tokens(context, step_s)))


def least_tokens(context: int, step_s: float) -> int:
    share = step_s / STEP_S
    return _whole(int(min(_LEAST_WORK / max(context, 1), _MOST_LEAST_TOKENS) * share))


def _whole(tokens: int) -> int:
    unit = _CHUNK_TOKENS if tokens >= _CHUNK_TOKENS else _LEAST_TOKENS
    return max(tokens // unit * unit, _LEAST_TOKENS)
