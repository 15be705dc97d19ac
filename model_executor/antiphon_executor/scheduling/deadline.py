"""The pacing policy: which streams run in the Talker's next step, least buffered audio first.

Pure functions: clock, streams and step times are arguments, and no engine is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon_executor.interface.playback import FRAME_S, seconds_of
from antiphon_executor.scheduling.real_time import (
    NEVER_S,
    best_rates,
    best_size,
    keeps_up,
    stays_buffered,
)
from antiphon_executor.scheduling.startup_buffer import startup_buffer_frames
from antiphon_executor.scheduling.step_model import StepTimes
from antiphon_executor.scheduling.step_plan import PacingRules, StepPlan, StreamStatus

PlanStep = Callable[[float, Sequence[StreamStatus], StepTimes, PacingRules], StepPlan]

ALL_TOKENS = 1 << 30
# A stream with less buffered audio than this share of the shortest step cannot avoid an underrun.
_UNDERRUN_SHARE = 0.75
# Streams with less than this may run beside new ones: larger batches generate more speech per second.
_COMFORT_S = 1.0
# Share of the slack that prompts and batch requests may use.
_SLACK_SHARE = 0.75


def plan_step(
    now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
) -> StepPlan:
    """Plans the step that begins at `now_s`. O(n log n) in the number of streams."""
    return _Planner(now_s, streams, times, rules).plan()


def first_come_first_served(
    now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
) -> StepPlan:
    """Runs every stream that can run, in order of arrival (`--engine.talker.pace.scheduling fifo`)."""
    run = [one for one in sorted(streams, key=_by_arrival) if one.ready]
    return StepPlan(tuple(one.key for one in run), ALL_TOKENS, frozenset(), NEVER_S)


class _Planner:
    """The streams of one plan by kind, each kind in the order in which it is served."""

    def __init__(
        self, now_s: float, streams: Sequence[StreamStatus], times: StepTimes, rules: PacingRules
    ) -> None:
        self._now_s = now_s
        self._rules = rules
        self._curve = times.curve(len(streams) + 1)
        self._token_s = times.token_s
        self._largest = times.largest_known
        self._typical = times.typical().curve(len(streams) + 1)
        self._rates = best_rates(self._typical)
        self._paused = {one.key: one for one in streams if self._pauses(one)}
        ready = [one for one in streams if one.ready and one.key not in self._paused]
        playing = sorted((one for one in ready if one.live and one.started), key=_by_buffer)
        lost = sum(one.buffered_s < _UNDERRUN_SHARE * self._curve[1] for one in playing)
        self._underrunning = sorted(playing[:lost], key=_by_last_step)
        self._buffered = playing[lost:]
        self._awaiting_text = [one for one in streams if one.live and one.started and not one.ready]
        self._new = sorted((one for one in ready if one.live and not one.started), key=_by_arrival)
        batch = sorted((one for one in ready if not one.live), key=_by_last_step)
        self._overdue_batch = [one for one in batch if now_s - one.last_step_s > rules.batch_overdue_s]
        self._batch = batch[len(self._overdue_batch) :]
        admitted = sum(one.live and (one.started or one.admitted) for one in streams)
        self._load = admitted + len(self._overdue_batch)

    def plan(self) -> StepPlan:
        live = [*self._underrunning, *self._buffered, *self._new]
        batch = [*self._overdue_batch, *self._batch]
        if self._load and not self._sustains(1):
            # The machine cannot keep real time for even one stream: maximise throughput instead.
            return self._step([*live, *batch], NEVER_S)
        if not live:
            return self._step(batch, self._until_resume_s())
        return self._starting_step() or self._playing_step()

    def _sustains(self, count: int) -> bool:
        """Whether `count` streams keep real time, in one batch or taking turns.

        At most one more than the largest measured batch, so that sizes are measured one after the other.
        """
        if count > self._largest + 1:
            return False
        return keeps_up(count, self._typical[count], self._rates[count], self._rules.headroom)

    def _pauses(self, one: StreamStatus) -> bool:
        limit_s = self._rules.resume_below_s if one.paused else self._rules.pause_above_s
        return one.live and one.started and one.buffered_s > limit_s

    def _starting_step(self) -> StepPlan | None:
        """A step for the new streams, together with only those streams that cannot wait until it is over."""
        new = self._admissible() if not self._underrunning else []
        while new:
            need_s = 2 * self._curve[len(self._buffered) + len(new)] + 2 * self._rules.margin_s
            for reach_s in (max(need_s, _COMFORT_S), need_s):
                plan = self._mixed_step(new, sum(one.buffered_s < reach_s for one in self._buffered))
                if plan:
                    return plan
            new = new[: len(new) // 2]
        return None

    def _mixed_step(self, new: list[StreamStatus], urgent: int) -> StepPlan | None:
        """A step of `new` and the `urgent` first playing streams; None if it takes too long."""
        run = [*self._buffered[:urgent], *new]
        limit_s = self._limit_s(urgent, self._curve[len(self._buffered) + len(new)])
        if self._curve[len(run)] + self._token_s > limit_s:
            return None
        plan = self._step(run, limit_s)
        return plan if self._is_alone(run) or self._all_stay_buffered(run, new, plan.prompt_tokens) else None

    def _is_alone(self, run: list[StreamStatus]) -> bool:
        return len(run) == 1 and not (self._buffered or self._awaiting_text or self._paused)

    def _all_stay_buffered(self, run: list[StreamStatus], new: list[StreamStatus], tokens: int) -> bool:
        """Whether all streams, including those that start in this step, stay buffered afterwards."""
        starting = 0
        left = tokens
        for one in new:
            left -= one.prompt_tokens
            starting += left >= 0
        seconds = self._curve[len(run)] + tokens * self._token_s
        within = {one.key for one in run}
        buffers = [
            one.buffered_s - seconds + (FRAME_S if one.key in within else 0.0) for one in self._buffered
        ]
        # A startup buffer is whole frames, so it can be hardly longer than a step. If steps take as long as
        # it plays, no margin can be left; if they take longer, the next frame is late in any schedule.
        full_step_s = self._curve[min(self._load + starting, len(self._curve) - 1)]
        first_s = max(seconds_of(startup_buffer_frames(full_step_s)), self._curve[1])
        margin_s = min(3 * self._rules.margin_s, (first_s - self._curve[1]) / 2)
        buffers += [max(one.buffered_s - seconds, first_s) for one in self._awaiting_text]
        buffers += [first_s] * starting
        return stays_buffered(buffers, self._curve, margin_s)

    def _admissible(self) -> list[StreamStatus]:
        """The new streams that have run before, and as many others as keep real time."""
        new = [one for one in self._new if one.admitted]
        load = self._load
        for one in self._new:
            if one.admitted:
                continue
            if load and not self._sustains(load + 1):
                break
            new.append(one)
            load += 1
        return new

    def _limit_s(self, urgent: int, full_step_s: float) -> float:
        """The longest that a step with only the `urgent` first playing streams may take, in seconds."""
        limit_s = self._buffered[0].buffered_s if urgent else NEVER_S
        if urgent < len(self._buffered):
            next_s = self._buffered[urgent].buffered_s
            limit_s = min(limit_s, next_s - full_step_s - 2 * self._rules.margin_s)
        if self._paused:
            limit_s = min(limit_s, self._until_resume_s())
        return limit_s - self._rules.margin_s

    def _playing_step(self) -> StepPlan:
        """A step of playing streams, of the size that leaves the most slack to the least buffered one."""
        underrunning = len(self._underrunning)
        buffers = [one.buffered_s for one in self._buffered]
        size, slack_s = best_size(buffers, self._curve, underrunning, self._rules.margin_s)
        while underrunning and slack_s < self._rules.margin_s:
            underrunning //= 2
            size, slack_s = best_size(buffers, self._curve, underrunning, self._rules.margin_s)
        run = [*self._buffered[:size], *self._underrunning[:underrunning]]
        limit_s = (self._buffered[0].buffered_s if self._buffered else NEVER_S) - self._rules.margin_s
        if size == len(self._buffered):
            run += self._batch_that_fits(len(run), _SLACK_SHARE * limit_s)
        return self._step(run, limit_s)

    def _batch_that_fits(self, running: int, limit_s: float) -> list[StreamStatus]:
        """As many batch requests as the slack of the live streams has room for."""
        least_s = self._buffered[0].buffered_s if self._buffered else NEVER_S
        has_slack = least_s >= self._rules.batch_above_s and not self._underrunning
        wanting = [*self._overdue_batch, *self._batch] if has_slack else self._overdue_batch
        count = 0
        while count < len(wanting) and self._curve[running + count + 1] + self._token_s <= limit_s:
            count += 1
        return wanting[:count]

    def _step(self, run: list[StreamStatus], limit_s: float) -> StepPlan:
        left_s = limit_s - self._curve[len(run)]
        wanted = sum(one.prompt_tokens for one in run)
        tokens = wanted
        if self._token_s:
            tokens = min(wanted, max(int(_SLACK_SHARE * left_s / self._token_s), 0))
        keys = tuple(one.key for one in run)
        return StepPlan(keys, tokens, frozenset(self._paused), max(self._until_resume_s(), 0.0))

    def _until_resume_s(self) -> float:
        """Time until the first paused stream must run again."""
        buffers = (one.buffered_s for one in self._paused.values())
        return min((buffer_s - self._rules.resume_below_s for buffer_s in buffers), default=NEVER_S)


def _by_buffer(one: StreamStatus) -> float:
    return one.buffered_s


def _by_last_step(one: StreamStatus) -> float:
    return one.last_step_s


def _by_arrival(one: StreamStatus) -> float:
    return one.arrived_s
