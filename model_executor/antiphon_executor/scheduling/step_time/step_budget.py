"""The tokens of the Thinker's next step: as many as take a given time, by the steps before.

Other requests get tokens, and an aborted one ends, only between two steps. At 80,000 tokens of context a CPU
takes seconds for a step of 2,048, and 0.3 s to encode two minutes of audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from antiphon_executor.scheduling.step_time.step_clock import StepLength

STEP_S = 0.35
# While speech is generated, which needs tokens of text: at most about as long as a step of the Talker.
PLAYING_STEP_S = 0.1
# A prompt with so many tokens takes many steps, and those at its end have fewer tokens.
LONG_TOKENS = 16_384
# Of a step of `STEP_S`: the least product of tokens and context, so that what each step costs besides stays a
# small part of it: 256 tokens of a short prompt, 64 at 131,072.
_LEAST_WORK = 256 * 32_768
_MOST_LEAST_TOKENS = 256
# Whole chunks of a gated-DeltaNet layer.
_CHUNK_TOKENS = 64
_LEAST_TOKENS = 16
# An item with at most this share of the longest one's tokens does not wait for it.
_SMALL_SHARE = 4
# Before the encoder's time was measured: two windows of audio, or one of video.
_UNMEASURED_TOKENS = 1_700
# Of a step's measurement after each later one.
_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class MediaItem:
    """A window of media that has to be encoded in the step that reaches it, after `distance` tokens."""

    distance: int
    tokens: int


@dataclass
class _Rate:
    """Of reading: the seconds and tokens of the last steps."""

    seconds: float = 0.0
    tokens: float = 0.0

    @property
    def is_measured(self) -> bool:
        return bool(self.tokens and self.seconds)


@dataclass
class StepBudget:
    """`context`: tokens computed of the longest prompt that is being read. `step_s`: the time of a step."""

    # A token costs several times as much at the end of a long prompt as in a short one.
    _short: _Rate = field(default_factory=_Rate)
    _long: _Rate = field(default_factory=_Rate)
    # Of the encoder, for a token of media; None before it was measured.
    _encoded_s: float | None = None

    def measured(self, step: StepLength) -> None:
        rate = self._rate(step.context)
        if step.encoded_tokens and rate.is_measured:
            read_s = step.prompt_tokens * rate.seconds / rate.tokens
            each_s = max(step.seconds - read_s, 0.0) / step.encoded_tokens
            before_s = each_s if self._encoded_s is None else self._encoded_s
            self._encoded_s = before_s * _KEPT + each_s * (1 - _KEPT)
        # The time of smaller steps is that of what each step costs besides. Another request may take half.
        elif step.prompt_tokens + 1 >= least_tokens(step.context, PLAYING_STEP_S) // 2:
            rate = self._long if step.context >= LONG_TOKENS else self._short
            rate.seconds = rate.seconds * _KEPT + step.seconds
            rate.tokens = rate.tokens * _KEPT + step.prompt_tokens

    def tokens(self, limit: int, context: int, step_s: float, media: Sequence[MediaItem] = ()) -> int:
        """As many, up to `limit`, as take `step_s` together with the `media` that they reach.

        `media`: by distance. A step that reaches some at once encodes that, whatever it takes.
        """
        rate = self._rate(context)
        if not rate.is_measured:
            return limit
        distances = [one.distance for one in media]
        best, left_s = 0, step_s
        for encoded, until in enumerate([*distances, limit]):
            if encoded:
                left_s -= media[encoded - 1].tokens * (self._encoded_s or 0.0)
            if encoded > 1 and (left_s <= 0 or self._encoded_s is None):
                break
            wanted = _tokens_within(left_s, rate)
            if not encoded:
                wanted = max(wanted, least_tokens(context, step_s))
            elif not distances[encoded - 1]:
                wanted = max(wanted, _LEAST_TOKENS)
            best = max(best, min(wanted, until))
            if wanted <= until:
                break
        return min(limit, max(best, _LEAST_TOKENS))

    def encoder_tokens(self, limit: int, step_s: float, next_items: Sequence[int]) -> int:
        """The most tokens of media, up to `limit`, that a step encodes: as many as take `step_s`.

        `next_items`: the tokens of those that requests reach next. The longest of them always fits, and a
        small one beside it.
        """
        longest = max(next_items, default=0)
        least = longest + longest // _SMALL_SHARE
        if self._encoded_s is None:
            return min(limit, max(least, _UNMEASURED_TOKENS))
        within = int(step_s / self._encoded_s) if self._encoded_s else limit
        return min(limit, max(least, within))

    def _rate(self, context: int) -> _Rate:
        first, other = (self._long, self._short) if context >= LONG_TOKENS else (self._short, self._long)
        return first if first.is_measured else other


def _tokens_within(seconds: float, rate: _Rate) -> int:
    tokens = int(max(seconds, 0.0) * rate.tokens / rate.seconds)
    return _whole(tokens) if tokens >= _LEAST_TOKENS else 0


def least_tokens(context: int, step_s: float) -> int:
    share = step_s / STEP_S
    return _whole(int(min(_LEAST_WORK / max(context, 1), _MOST_LEAST_TOKENS) * share))


def _whole(tokens: int) -> int:
    unit = _CHUNK_TOKENS if tokens >= _CHUNK_TOKENS else _LEAST_TOKENS
    return max(tokens // unit * unit, _LEAST_TOKENS)
