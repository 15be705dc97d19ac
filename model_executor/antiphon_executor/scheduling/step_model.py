"""Model of how long a Talker step takes, learned from past steps: by batch size and prompt tokens.

Immutable and without a clock: each measurement returns the next model.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

_WEIGHT = 0.08
_DEVIATIONS = 2.5
_OUTLIER = 3.0
_EXACT_SIZES = 32
# A size that was not measured in this many steps is bounded by the smaller sizes that were.
_STALE = 256
_ASSUMED_GROWTH = 0.25
# Fewer prompt tokens than this are those of new text, or cannot be distinguished from noise.
_MIN_PROMPT = 32
# After this many steps of a size its mean is more than its warm-up.
_KNOWN = 8
_RISE = 0.5
_FALL = 0.03


@dataclass(frozen=True, slots=True)
class _Size:
    """Steps of `batch` streams without prompts: mean and mean absolute deviation, in seconds.

    `at`: number of the last such step among all steps. `before_s`: the mean before the Talker was last idle,
    0 if it had none. `is_old`: the size has not been measured since then.
    """

    batch: int
    mean_s: float
    deviation_s: float
    seen: int
    at: int
    before_s: float = 0.0
    is_old: bool = False

    @property
    def upper_s(self) -> float:
        return self.mean_s + _DEVIATIONS * self.deviation_s

    def with_step(self, seconds: float, at: int) -> _Size:
        """Exponentially weighted average. The first steps count as a plain mean; outliers are clipped."""
        if self.seen == 1 and seconds < self.mean_s:
            # The very first step of a size also compiles, allocates and warms up.
            return _Size(self.batch, seconds, 0.1 * seconds, 2, at, self.before_s)
        weight = max(_WEIGHT, 1 / (self.seen + 1))
        bounded = min(seconds, _OUTLIER * self.mean_s) if self.seen > 2 else seconds
        error = bounded - self.mean_s
        deviation = self.deviation_s + weight * (abs(error) - self.deviation_s)
        mean_s = self.mean_s + weight * error
        return _Size(self.batch, mean_s, deviation, self.seen + 1, at, self.before_s)

    def after_idle(self) -> _Size:
        """Counts as measured once, so that the next step replaces it or weighs as much."""
        return replace(self, seen=1, before_s=self.mean_s, is_old=True)

    def scaled(self, factor: float) -> _Size:
        """`factor` times as long as it was before the Talker was idle."""
        share = factor * self.before_s / self.mean_s
        return replace(self, mean_s=share * self.mean_s, deviation_s=share * self.deviation_s)

    def bounded_by(self, smaller: _Size) -> _Size:
        """At most as long per stream as `smaller`, so that a size that was slow once is tried again."""
        factor = min(smaller.mean_s * self.batch / (smaller.batch * self.mean_s), 1.0)
        return replace(self, mean_s=self.mean_s * factor, deviation_s=self.deviation_s * factor)

    def with_jitter(self, jitter_s: float) -> _Size:
        """See `StepTimes.with_jitter`. No `replace`, which takes five times as long."""
        mean_s = self.mean_s + max(self.deviation_s, jitter_s)
        return _Size(self.batch, mean_s, 0.0, self.seen, self.at, self.before_s, self.is_old)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """`sizes`: by batch size, ascending. `token_s`: added by each prompt token. Unmeasured steps take 0 s."""

    sizes: tuple[_Size, ...] = ()
    token_s: float = 0.0
    steps: int = 0

    def with_measurement(self, batch: int, prompt_tokens: int, seconds: float) -> StepTimes:
        """The model after one more step of `batch` streams. `prompt_tokens`: tokens beyond one each."""
        if prompt_tokens >= _MIN_PROMPT:
            if not self.sizes:
                return self
            known = self._mean_s(batch)
            each = max(seconds - known, 0.0) / prompt_tokens
            weight = min(prompt_tokens / 256, 1.0) * (_RISE if each > self.token_s else _FALL)
            return replace(self, token_s=self.token_s + weight * (each - self.token_s))
        return self._with_size(_size_of(batch), seconds)

    def excess_s(self, batch: int, prompt_tokens: int, seconds: float) -> float | None:
        """By how much a step was longer than usual; None for a step with a prompt and for an unknown size."""
        if prompt_tokens >= _MIN_PROMPT:
            return None
        at = bisect_left(self.sizes, _size_of(batch), key=_batch_of)
        if at == len(self.sizes) or self.sizes[at].batch != _size_of(batch) or self.sizes[at].seen < _KNOWN:
            return None
        return seconds - self.sizes[at].mean_s

    def after_idle(self) -> StepTimes:
        """The model after a long idle time: the machine may have changed, so new steps weigh more."""
        return replace(self, sizes=tuple(size.after_idle() for size in self.sizes))

    @property
    def largest(self) -> int:
        """The largest batch that was ever measured."""
        return self.sizes[-1].batch if self.sizes else 0

    @property
    def largest_known(self) -> int:
        """The largest batch whose time follows from measurements."""
        return self.largest

    def with_jitter(self, jitter_s: float) -> StepTimes:
        """Step times that a high percentile of the steps keeps: the mean plus at least `jitter_s`."""
        return replace(self, sizes=tuple(size.with_jitter(jitter_s) for size in self.sizes))

    def typical(self) -> StepTimes:
        """Sustained step times: mean plus one deviation, instead of the upper bound of a single step.

        Other load on the machine slows steps down for a second or more, and that is not caught up at once.
        """
        return self.with_jitter(0.0)

    def curve(self, batch: int) -> list[float]:
        """Upper bounds, in seconds, of steps with 0, 1, ... `batch` streams and no prompts; never falls.

        A size that took longer than a larger one is out of date, so the larger one counts.
        """
        if not self.sizes:
            return [0.0] * (batch + 1)
        curve = [self._upper_s(streams) for streams in range(batch + 1)]
        least = min((size.upper_s for size in self.sizes if size.batch >= batch), default=curve[batch])
        for streams in range(batch, -1, -1):
            least = curve[streams] = min(curve[streams], least)
        curve[0] = 0.0
        return curve

    def _with_size(self, batch: int, seconds: float) -> StepTimes:
        at, steps = bisect_left(self.sizes, batch, key=_batch_of), self.steps + 1
        if at == len(self.sizes) or self.sizes[at].batch != batch:
            fresh = _Size(batch, seconds, 0.1 * seconds, 1, steps)
            return replace(self, sizes=(*self.sizes[:at], fresh, *self.sizes[at:]), steps=steps)
        now = self.sizes[at].with_step(seconds, steps)
        larger = (one.bounded_by(now) if steps - one.at > _STALE else one for one in self.sizes[at + 1 :])
        sizes = (*self.sizes[:at], now, *larger)
        if now.before_s:
            # Sizes that are not measured again yet change by the same factor as this one.
            factor = now.mean_s / now.before_s
            sizes = tuple(one.scaled(factor) if one.is_old else one for one in sizes)
        return replace(self, sizes=sizes, steps=steps)

    def _upper_s(self, streams: int) -> float:
        sizes = self.sizes
        at = bisect_left(sizes, streams, key=_batch_of)
        if at == len(sizes):
            return self._extrapolated_s(streams, sizes[0], sizes[-1])
        if at == 0 or sizes[at].batch == streams:
            return sizes[at].upper_s
        return _interpolated_s(streams, sizes[at - 1], sizes[at])

    def _mean_s(self, batch: int) -> float:
        if not self.sizes:
            return 0.0
        at = bisect_left(self.sizes, batch, key=_batch_of)
        return self.sizes[min(at, len(self.sizes) - 1)].mean_s

    def _extrapolated_s(self, streams: int, first: _Size, last: _Size) -> float:
        """Linear beyond the largest measured size; with a single size, the slope is assumed."""
        if first is last:
            slope = _ASSUMED_GROWTH * last.mean_s / last.batch
        else:
            slope = max(last.mean_s - first.mean_s, 0.0) / (last.batch - first.batch)
        return last.upper_s + slope * (streams - last.batch)


def _interpolated_s(streams: int, low: _Size, high: _Size) -> float:
    share = (streams - low.batch) / (high.batch - low.batch)
    return low.upper_s + share * (high.upper_s - low.upper_s)


def _batch_of(size: _Size) -> int:
    return size.batch


def _size_of(batch: int) -> int:
    """Batches above 32 share a size with their neighbours: rounded up to an eighth of a power of two."""
    if batch <= _EXACT_SIZES:
        return batch
    grain = 1 << (batch.bit_length() - 4)
    return -(-batch // grain) * grain
