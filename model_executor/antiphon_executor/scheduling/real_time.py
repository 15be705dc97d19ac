"""Which batch sizes keep real time: pure functions on buffered audio and step times, in seconds.

`curve[n]` is the expected duration of a step with n streams; it never falls. One step adds one frame to each
stream in it, and every stream plays on for as long as the step takes.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, takewhile

from antiphon_executor.interface.playback import FRAME_S
from antiphon_executor.scheduling.step_model import StepTimes

NEVER_S = 3600.0
# Steps that are looked ahead; buffers that have not recovered by then count as lost.
_ROUNDS = 12
# Batch sizes are tried from the largest down, each this much smaller than the one before.
_NEXT_SIZE = 0.8
# Streams that take turns need this many times the headroom of one batch: their order costs time too.
_TURNS_HEADROOM = 3


def sustainable_streams(times: StepTimes, limit: int, headroom: float) -> int:
    """The largest number of streams, up to `limit`, that such step times keep in real time; 0 if none.

    `times`: without deviations. Batch sizes that were never measured are extrapolated linearly.
    """
    curve = times.curve(limit)
    rates = best_rates(curve)
    fitting = takewhile(
        lambda count: keeps_up(count, curve[count], rates[count], headroom), range(1, limit + 1)
    )
    return sum(1 for _ in fitting)


def best_rates(typical: list[float]) -> list[float]:
    """By batch size: the most frames per second that a batch of that size or smaller generates."""
    rates = (size / seconds if seconds else 0.0 for size, seconds in enumerate(typical))
    return list(accumulate(rates, max))


def keeps_up(count: int, step_s: float, rate: float, headroom: float) -> bool:
    """Whether `count` streams keep real time, in one batch of `step_s` or taking turns at the best `rate`."""
    in_turns = rate * FRAME_S >= count * (1 + _TURNS_HEADROOM * headroom)
    return in_turns or step_s * (1 + headroom) <= FRAME_S


def best_size(buffers: list[float], curve: list[float], extra: int, margin_s: float) -> tuple[int, float]:
    """How many of the streams with the least buffered audio to run beside `extra` others, and the slack left.

    `buffers`: seconds, ascending. All streams if that is in time; else the largest of a few sizes after which
    every stream stays buffered; if there is none, the size that leaves the most slack.
    """
    count = len(buffers)
    best, best_slack_s = 0, NEVER_S if not buffers else -NEVER_S
    size = count
    while size:
        seconds = curve[size + extra]
        slack_s = buffers[0] - seconds
        if slack_s >= margin_s and size == count:
            return size, slack_s
        if size < count:
            slack_s = min(slack_s, buffers[size] - seconds - curve[count - size])
        if slack_s >= margin_s:
            return size, slack_s
        if buffers[0] - seconds >= margin_s and stays_buffered(
            _after_step(buffers, size, seconds), curve, margin_s
        ):
            return size, margin_s
        if slack_s > best_slack_s:
            best, best_slack_s = size, slack_s
        size = min(size - 1, int(size * _NEXT_SIZE))
    return best, best_slack_s


def stays_buffered(buffers: list[float], curve: list[float], margin_s: float) -> bool:
    """Whether batches as large as the smallest buffer allows soon leave enough for a batch of all."""
    buffers = sorted(buffers)
    for _ in range(_ROUNDS):
        if not buffers or buffers[0] >= curve[len(buffers)] + margin_s:
            return True
        size = bisect_right(curve, buffers[0] - margin_s) - 1
        if size < 1:
            return False
        buffers = sorted(_after_step(buffers, size, curve[size]))
    return False


def _after_step(buffers: list[float], size: int, seconds: float) -> list[float]:
    """Buffered audio after a step of the first `size` streams."""
    return [buffer_s - seconds + (FRAME_S if at < size else 0.0) for at, buffer_s in enumerate(buffers)]
