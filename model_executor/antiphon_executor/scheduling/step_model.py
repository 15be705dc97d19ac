"""How long a Talker step takes, learnt from the steps so far: by the streams in it and the prompt tokens.

In: one measurement a step. Out: what a step of any size will hardly exceed. Pure, frozen, without a clock.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace

_WEIGHT = 0.08
_DEVIATIONS = 2.5
_OUTLIER = 3.0
_EXACT_SIZES = 32
# Steps: what a size that was not measured for so many took is told by those that were.
_STALE = 256
_ASSUMED_GROWTH = 0.25
_PROMPT = 64
_RISE = 0.5
_FALL = 0.03


@dataclass(frozen=True, slots=True)
class _Size:
    """Steps of `batch` streams without prompts: mean and mean absolute deviation, in seconds.

    `at`: the last of them, counted among all steps. `before_s`: the mean before the Talker last stood idle,
    0 where it has not been measured that long. `is_old`: it has not been measured since.
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
        """Exponentially weighted; a first few steps count as a plain mean, and one hiccup counts little."""
        if self.seen == 1 and seconds < self.mean_s:
            # The very first step of a size also compiles, allocates and warms up.
            return _Size(self.batch, seconds, 0.1 * seconds, 2, at, self.before_s)
        weight = max(_WEIGHT, 1 / (self.seen + 1))
        bounded = min(seconds, _OUTLIER * self.mean_s) if self.seen > 2 else seconds
        error = bounded - self.mean_s
        deviation = self.deviation_s + weight * (abs(error) - self.deviation_s)
        mean_s = self.mean_s + weight * error
        return _Size(self.batch, mean_s, deviation, self.seen + 1, at, self.before_s)

    def aged(self) -> _Size:
        """It counts as measured once: the next step replaces it, or weighs as much."""
        return replace(self, seen=1, before_s=self.mean_s, is_old=True)

    def scaled(self, factor: float) -> _Size:
        """As long before as it was, and `factor` times that now."""
        share = factor * self.before_s / self.mean_s
        return replace(self, mean_s=share * self.mean_s, deviation_s=share * self.deviation_s)

    def bounded(self, smaller: _Size) -> _Size:
        """No more a stream than `smaller` takes now: it was slow once, and would never be tried again."""
        factor = min(smaller.mean_s * self.batch / (smaller.batch * self.mean_s), 1.0)
        return replace(self, mean_s=self.mean_s * factor, deviation_s=self.deviation_s * factor)


@dataclass(frozen=True, slots=True)
class StepTimes:
    """`sizes` by batch; `token_s`: what a prompt token adds. Nothing measured means: free."""

    sizes: tuple[_Size, ...] = ()
    token_s: float = 0.0
    steps: int = 0

    def measured(self, batch: int, prompt_tokens: int, seconds: float) -> StepTimes:
        """After one step. `batch`: streams in it; `prompt_tokens`: tokens beyond one a stream.

        A few of those cannot be told from chance, and count as none.
        """
        if prompt_tokens >= _PROMPT:
            if not self.sizes:
                return self
            known = self._typical_s(batch)
            each = max(seconds - known, 0.0) / prompt_tokens
            weight = min(prompt_tokens / 256, 1.0) * (_RISE if each > self.token_s else _FALL)
            return replace(self, token_s=self.token_s + weight * (each - self.token_s))
        return self._with_size(_size_of(batch), seconds)

    def aged(self) -> StepTimes:
        """After a while without a step. The machine may be another by now: the next steps decide."""
        return replace(self, sizes=tuple(size.aged() for size in self.sizes))

    @property
    def largest(self) -> int:
        """The largest batch that was ever measured."""
        return self.sizes[-1].batch if self.sizes else 0

    def usual(self) -> StepTimes:
        """The same steps as they are for a while: what counts over many of them, and not for any one.

        Others on the machine make steps slow for a second or more: a deviation is not made good at once.
        """
        return replace(
            self,
            sizes=tuple(
                replace(size, mean_s=size.mean_s + size.deviation_s, deviation_s=0.0) for size in self.sizes
            ),
        )

    def curve(self, batch: int) -> list[float]:
        """What a step without prompts hardly exceeds that has 0, 1, ... `batch` streams; never falls.

        A size that took longer than a larger one has not been measured for a while: the larger one counts.
        """
        if not self.sizes:
            return [0.0] * (batch + 1)
        curve = [self._at(streams) for streams in range(batch + 1)]
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
        larger = (one.bounded(now) if steps - one.at > _STALE else one for one in self.sizes[at + 1 :])
        sizes = (*self.sizes[:at], now, *larger)
        if now.before_s:
            # What is not measured again yet has become as much slower or faster as what is.
            factor = now.mean_s / now.before_s
            sizes = tuple(one.scaled(factor) if one.is_old else one for one in sizes)
        return replace(self, sizes=sizes, steps=steps)

    def _at(self, streams: int) -> float:
        sizes = self.sizes
        at = bisect_left(sizes, streams, key=_batch_of)
        if at == len(sizes):
            return self._beyond(streams, sizes[0], sizes[-1])
        if at == 0 or sizes[at].batch == streams:
            return sizes[at].upper_s
        return _between(streams, sizes[at - 1], sizes[at])

    def _typical_s(self, batch: int) -> float:
        if not self.sizes:
            return 0.0
        at = bisect_left(self.sizes, batch, key=_batch_of)
        return self.sizes[min(at, len(self.sizes) - 1)].mean_s

    def _beyond(self, streams: int, first: _Size, last: _Size) -> float:
        """Larger than any step so far: along the line. Where one size alone is known, the line is assumed."""
        if first is last:
            slope = _ASSUMED_GROWTH * last.mean_s / last.batch
        else:
            slope = max(last.mean_s - first.mean_s, 0.0) / (last.batch - first.batch)
        return last.upper_s + slope * (streams - last.batch)


def _between(streams: int, low: _Size, high: _Size) -> float:
    share = (streams - low.batch) / (high.batch - low.batch)
    return low.upper_s + share * (high.upper_s - low.upper_s)


def _batch_of(size: _Size) -> int:
    return size.batch


def _size_of(batch: int) -> int:
    """Batches above 32 share a size with their neighbours: an eighth of a power of two."""
    if batch <= _EXACT_SIZES:
        return batch
    grain = 1 << (batch.bit_length() - 4)
    return -(-batch // grain) * grain
