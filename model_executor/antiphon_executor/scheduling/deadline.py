"""Which streams run in the Talker's next step, so that no client runs underrunning: least slack first.

In: every stream as it stands, and how long steps take. Out: who runs, with how many prompt tokens, who is
paused, and when to look again. Pure: the clock and all figures are passed in. It never touches an engine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from antiphon_executor.interface.playback import FRAME_S, seconds_of
from antiphon_executor.scheduling.startup_buffer import startup_buffer_frames
from antiphon_executor.scheduling.step_model import StepTimes

_FOREVER_S = 3600.0
_ALL_TOKENS = 1 << 30
_ROUNDS = 12
_LOST = 0.75
_NEXT_SIZE = 0.8
_IN_TURNS = 3
# Who has less than this may as well run beside those who begin: batches of many make more speech a second.
_COMFORT_S = 1.0
# Of the slack there is, what prompts may use, and requests that have no deadline.
_OTHERS = 0.75


@dataclass(frozen=True, slots=True)
class PacingRules:
    """The limits of the pacing policy; seconds, except `headroom`.

    A stream with more than `pause_above_s` of buffered audio pauses until it has `resume_below_s` left.
    `margin_s`: slack that every plan leaves to the stream with the least buffered audio. `headroom`: share of
    real time that must stay free when a new live stream is admitted. Batch requests run while every live
    stream has at least `batch_above_s` buffered. `batch_overdue_s` after its last step, a batch request holds
    back new live streams and runs whenever there is slack.
    """

    pause_above_s: float = 8.0
    resume_below_s: float = 4.0
    margin_s: float = 0.004
    headroom: float = 0.1
    batch_above_s: float = 0.5
    batch_overdue_s: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream at the time of the plan.

    `live`: its client plays while it is generated; False for a batch request. `started`: its first frame
    exists. `buffered_s`: audio that the client still has to play. `prompt_tokens`: tokens to compute before
    the next frame, beyond the one of every step. `ready`: the input of its next step is complete. `paused`:
    it was paused in the last plan. `admitted`: it has run before. `arrived_s`, `last_step_s`: on the same
    monotonic clock as the plan.
    """

    key: str
    live: bool
    started: bool
    buffered_s: float
    prompt_tokens: int
    ready: bool
    paused: bool
    admitted: bool
    arrived_s: float
    last_step_s: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """`run`: who is in the step, in order. `prompt_tokens`: how many of their prompts' tokens it may compute.

    `paused`: who rests. `replan_in_s`: by then the plan must be made again, whatever happens.
    """

    run: tuple[str, ...]
    prompt_tokens: int
    paused: frozenset[str]
    replan_in_s: float


def plan_step(
    now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
) -> StepPlan:
    """O(n log n) in the streams."""
    return _Planner(now_s, streams, times, rules).plan()


def first_come_first_served(
    now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
) -> StepPlan:
    """First come, first served, as other servers do: everybody who can runs. To compare with, no more."""
    run = [one for one in sorted(streams, key=_by_arrival) if one.ready]
    return StepPlan(tuple(one.key for one in run), _ALL_TOKENS, frozenset(), _FOREVER_S)


def sustainable_streams(times: StepTimes, most: int, headroom: float) -> int:
    """How many streams at once can be kept in real time, `most` at most, by what their steps usually take.

    Sizes that were never measured lie on the line through those that were. 0: not even one alone can.
    """
    usual = times.usual().curve(most)
    rates = _best_rates(usual)
    fitting = takewhile(
        lambda count: _keeps_up(count, usual[count], rates[count], headroom), range(1, most + 1)
    )
    return sum(1 for _ in fitting)


class _Planner:
    """The streams by kind, each in the order in which it is served."""

    def __init__(
        self, now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
    ) -> None:
        self._now_s = now_s
        self._rules = rules
        self._curve = times.curve(len(streams) + 1)
        self._token_s = times.token_s
        self._largest = times.largest
        self._usual = times.usual().curve(len(streams) + 1)
        self._rates = _best_rates(self._usual)
        self._paused = {one.key: one for one in streams if self._is_paused(one)}
        ready = [one for one in streams if one.ready and one.key not in self._paused]
        playing = sorted((one for one in ready if one.live and one.started), key=_by_buffer)
        lost = sum(one.buffered_s < _LOST * self._curve[1] for one in playing)
        self._underrunning = sorted(playing[:lost], key=_by_last_step)
        self._buffered = playing[lost:]
        self._awaiting_text = [one for one in streams if one.live and one.started and not one.ready]
        self._new = sorted((one for one in ready if one.live and not one.started), key=_by_arrival)
        batch = sorted((one for one in ready if not one.live), key=_by_last_step)
        self._overdue_batch = [one for one in batch if now_s - one.last_step_s > rules.batch_overdue_s]
        self._batch = batch[len(self._overdue_batch) :]
        self._load = sum(one.live and (one.started or one.admitted) for one in streams) + len(
            self._overdue_batch
        )

    def plan(self) -> StepPlan:
        live = self._underrunning or self._buffered or self._new
        if self._load and not self.sustains(1):
            # No schedule keeps real time here: the most speech a second is all that is left to want.
            return self._step(
                [*self._underrunning, *self._buffered, *self._new, *self._overdue_batch, *self._batch],
                _FOREVER_S,
            )
        if not live:
            return self._step([*self._overdue_batch, *self._batch], self._until_resume_s())
        return self._starting_step() or self._playing_step()

    def sustains(self, count: int) -> bool:
        """Whether `count` streams at once can be kept in real time, in one batch or taking turns.

        No further than one stream beyond what was ever measured: sizes are learnt one by one.
        """
        if count > self._largest + 1:
            return False
        return _keeps_up(count, self._usual[count], self._rates[count], self._rules.headroom)

    def _is_paused(self, one: StreamStatus) -> bool:
        bound_s = self._rules.resume_below_s if one.paused else self._rules.pause_above_s
        return one.live and one.started and one.buffered_s > bound_s

    def _starting_step(self) -> StepPlan | None:
        """A step for the streams that wait to begin, with only those beside them that cannot wait for it."""
        new = self._admitted() if not self._underrunning else []
        while new:
            need_s = 2 * self._curve[len(self._buffered) + len(new)] + 2 * self._rules.margin_s
            for reach_s in (max(need_s, _COMFORT_S), need_s):
                plan = self._mixed_step(new, sum(one.buffered_s < reach_s for one in self._buffered))
                if plan:
                    return plan
            new = new[: len(new) // 2]
        return None

    def _mixed_step(self, new: list[StreamStatus], urgent: int) -> StepPlan | None:
        """A step of `new` and of the `urgent` first of those that play; None where it takes too long."""
        run = [*self._buffered[:urgent], *new]
        limit_s = self._limit_s(urgent, self._curve[len(self._buffered) + len(new)])
        if self._curve[len(run)] + self._token_s > limit_s:
            return None
        plan = self._step(run, limit_s)
        return (
            plan if self._is_alone(run) or self._keeps_others_buffered(run, new, plan.prompt_tokens) else None
        )

    def _is_alone(self, run: list[StreamStatus]) -> bool:
        return len(run) == 1 and not (self._buffered or self._awaiting_text or self._paused)

    def _keeps_others_buffered(self, run: list[StreamStatus], new: list[StreamStatus], tokens: int) -> bool:
        """Whether everybody stays ahead in the rounds after this step, those who begin in it included."""
        begin = 0
        left = tokens
        for one in new:
            left -= one.prompt_tokens
            begin += left >= 0
        seconds = self._curve[len(run)] + tokens * self._token_s
        within = {one.key for one in run}
        leads = [one.buffered_s - seconds + (FRAME_S if one.key in within else 0.0) for one in self._buffered]
        # An opening of whole frames is hardly longer than a step. A machine whose steps take as long as it
        # plays has nothing to leave, and one whose steps take longer is late with the next whatever it does.
        whole_s = self._curve[min(self._load + begin, len(self._curve) - 1)]
        first_s = max(seconds_of(startup_buffer_frames(whole_s)), self._curve[1])
        margin_s = min(3 * self._rules.margin_s, (first_s - self._curve[1]) / 2)
        leads += [max(one.buffered_s - seconds, first_s) for one in self._awaiting_text]
        leads += [first_s] * begin
        return _stays_ahead(leads, self._curve, margin_s)

    def _admitted(self) -> list[StreamStatus]:
        """Of the new streams, those that have started to run, and as many more as real time has room for."""
        new = [one for one in self._new if one.admitted]
        load = self._load
        for one in self._new:
            if one.admitted:
                continue
            if load and not self.sustains(load + 1):
                break
            new.append(one)
            load += 1
        return new

    def _limit_s(self, urgent: int, whole_s: float) -> float:
        """How long a step may take that has the `urgent` first streams in it and leaves the others out."""
        limit_s = self._buffered[0].buffered_s if urgent else _FOREVER_S
        if urgent < len(self._buffered):
            limit_s = min(limit_s, self._buffered[urgent].buffered_s - whole_s - 2 * self._rules.margin_s)
        if self._paused:
            limit_s = min(limit_s, self._until_resume_s())
        return limit_s - self._rules.margin_s

    def _playing_step(self) -> StepPlan:
        """A step of the streams that play: so many that whoever has least slack after it has most."""
        underrunning = len(self._underrunning)
        leads = [one.buffered_s for one in self._buffered]
        size, slack_s = _best_size(leads, self._curve, underrunning, self._rules.margin_s)
        while underrunning and slack_s < self._rules.margin_s:
            underrunning //= 2
            size, slack_s = _best_size(leads, self._curve, underrunning, self._rules.margin_s)
        run = [*self._buffered[:size], *self._underrunning[:underrunning]]
        limit_s = (self._buffered[0].buffered_s if self._buffered else _FOREVER_S) - self._rules.margin_s
        if size == len(self._buffered):
            run += self._batch_that_fits(len(run), _OTHERS * limit_s)
        return self._step(run, limit_s)

    def _batch_that_fits(self, running: int, limit_s: float) -> list[StreamStatus]:
        """Requests that nobody listens to, as many as the listeners' slack has room for."""
        has_spare = (
            all(one.buffered_s >= self._rules.batch_above_s for one in self._buffered[:1])
            and not self._underrunning
        )
        wanting = [*self._overdue_batch, *self._batch] if has_spare else self._overdue_batch
        count = 0
        while count < len(wanting) and self._curve[running + count + 1] + self._token_s <= limit_s:
            count += 1
        return wanting[:count]

    def _step(self, run: list[StreamStatus], limit_s: float) -> StepPlan:
        left_s = limit_s - self._curve[len(run)]
        wanted = sum(one.prompt_tokens for one in run)
        tokens = min(wanted, max(int(_OTHERS * left_s / self._token_s), 0)) if self._token_s else wanted
        return StepPlan(
            tuple(one.key for one in run), tokens, frozenset(self._paused), max(self._until_resume_s(), 0.0)
        )

    def _until_resume_s(self) -> float:
        """Until the first of the paused streams must be awake."""
        leads = (one.buffered_s for one in self._paused.values())
        return min((buffered_s - self._rules.resume_below_s for buffered_s in leads), default=_FOREVER_S)


def _best_rates(usual: list[float]) -> list[float]:
    """Frames a second that batches of 0, 1, ... streams or fewer make at best."""
    rates = (size / seconds if seconds else 0.0 for size, seconds in enumerate(usual))
    return list(accumulate(rates, max))


def _keeps_up(count: int, step_s: float, rate: float, headroom: float) -> bool:
    """Whether `count` streams keep real time, in one batch of `step_s` or taking turns at the best rate."""
    in_turns = rate * FRAME_S >= count * (1 + _IN_TURNS * headroom)
    return in_turns or step_s * (1 + headroom) <= FRAME_S


def _by_buffer(one: StreamStatus) -> float:
    return one.buffered_s


def _by_last_step(one: StreamStatus) -> float:
    return one.last_step_s


def _by_arrival(one: StreamStatus) -> float:
    return one.arrived_s


def _best_size(leads: list[float], curve: list[float], extra: int, margin_s: float) -> tuple[int, float]:
    """How many of the streams with least lead to run beside `extra` others, and the least slack it leaves.

    `leads`: ascending. All of them where that is in time; else the largest of a few sizes after which
    everybody stays ahead; where none is, the one that leaves most.
    """
    count = len(leads)
    best, best_slack_s = 0, _FOREVER_S if not leads else -_FOREVER_S
    size = count
    while size:
        seconds = curve[size + extra]
        slack_s = leads[0] - seconds
        if slack_s >= margin_s and size == count:
            return size, slack_s
        if size < count:
            slack_s = min(slack_s, leads[size] - seconds - curve[count - size])
        if slack_s >= margin_s:
            return size, slack_s
        if leads[0] - seconds >= margin_s and _stays_ahead(_after(leads, size, seconds), curve, margin_s):
            return size, margin_s
        if slack_s > best_slack_s:
            best, best_slack_s = size, slack_s
        size = min(size - 1, int(size * _NEXT_SIZE))
    return best, best_slack_s


def _stays_ahead(leads: list[float], curve: list[float], margin_s: float) -> bool:
    """Whether batches as large as the least slack allows bring everybody far enough for one batch of all."""
    leads = sorted(leads)
    for _ in range(_ROUNDS):
        if not leads or leads[0] >= curve[len(leads)] + margin_s:
            return True
        size = bisect_right(curve, leads[0] - margin_s) - 1
        if size < 1:
            return False
        leads = sorted(_after(leads, size, curve[size]))
    return False


def _after(leads: list[float], size: int, seconds: float) -> list[float]:
    """The leads after a step of the first `size`."""
    return [buffered_s - seconds + (FRAME_S if at < size else 0.0) for at, buffered_s in enumerate(leads)]
