"""Which streams run in the Talker's next step, so that no client runs dry: least slack first.

In: every stream as it stands, and how long steps take. Out: who runs, with how many prompt tokens, who is
parked, and when to look again. Pure: the clock and all figures are passed in. It never touches an engine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile

from antiphon_executor.interface.playback import FRAME_S, seconds_of
from antiphon_executor.scheduling.startup_buffer import opening_frames
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
class DeadlineRules:
    """`park_s`, `wake_s`: a stream further ahead than `park_s` rests until its lead has sunk to `wake_s`.

    `margin_s`: slack that a plan leaves to whoever has least. `headroom`: share of real time that new streams
    must leave free. `spare_s`: requests that nobody listens to run while every listener has this much, and
    `age_s` after their last step they hold new streams back and run with anything that is left.
    """

    park_s: float = 8.0
    wake_s: float = 4.0
    margin_s: float = 0.004
    headroom: float = 0.1
    spare_s: float = 0.5
    age_s: float = 1.0


@dataclass(frozen=True, slots=True)
class StreamPace:
    """One stream at this moment.

    `live`: somebody listens while it is made. `begun`: its first sound is made, and its client runs dry in
    `lead_s`. `prompt_tokens`: to be computed before its next frame, beyond the one that every step has.
    `ready`: what its next step needs is there. `admitted`: it has run before. `since_s`: when it came;
    `ran_s`: when it last ran.
    """

    key: str
    live: bool
    begun: bool
    lead_s: float
    prompt_tokens: int
    ready: bool
    parked: bool
    admitted: bool
    since_s: float
    ran_s: float


@dataclass(frozen=True, slots=True)
class StepPlan:
    """`run`: who is in the step, in order. `prompt_tokens`: how many of their prompts' tokens it may compute.

    `parked`: who rests. `wake_in_s`: by then the plan must be made again, whatever happens.
    """

    run: tuple[str, ...]
    prompt_tokens: int
    parked: frozenset[str]
    wake_in_s: float


def plan_step(
    now_s: float, streams: Sequence[StreamPace], times: StepTimes, rules: DeadlineRules
) -> StepPlan:
    """O(n log n) in the streams."""
    return _Planner(now_s, streams, times, rules).plan()


def first_come(
    now_s: float, streams: Sequence[StreamPace], times: StepTimes, rules: DeadlineRules
) -> StepPlan:
    """First come, first served, as other servers do: everybody who can runs. To compare with, no more."""
    run = [one for one in sorted(streams, key=_by_arrival) if one.ready]
    return StepPlan(tuple(one.key for one in run), _ALL_TOKENS, frozenset(), _FOREVER_S)


def live_streams(times: StepTimes, most: int, headroom: float) -> int:
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
        self, now_s: float, streams: Sequence[StreamPace], times: StepTimes, rules: DeadlineRules
    ) -> None:
        self._now_s = now_s
        self._rules = rules
        self._curve = times.curve(len(streams) + 1)
        self._token_s = times.token_s
        self._largest = times.largest
        self._usual = times.usual().curve(len(streams) + 1)
        self._rates = _best_rates(self._usual)
        self._parked = {one.key: one for one in streams if self._rests(one)}
        ready = [one for one in streams if one.ready and one.key not in self._parked]
        playing = sorted((one for one in ready if one.live and one.begun), key=_by_lead)
        lost = sum(one.lead_s < _LOST * self._curve[1] for one in playing)
        self._dry = sorted(playing[:lost], key=_by_age)
        self._safe = playing[lost:]
        self._mute = [one for one in streams if one.live and one.begun and not one.ready]
        self._new = sorted((one for one in ready if one.live and not one.begun), key=_by_arrival)
        quiet = sorted((one for one in ready if not one.live), key=_by_age)
        self._aged = [one for one in quiet if now_s - one.ran_s > rules.age_s]
        self._quiet = quiet[len(self._aged) :]
        self._load = sum(one.live and (one.begun or one.admitted) for one in streams) + len(self._aged)

    def plan(self) -> StepPlan:
        live = self._dry or self._safe or self._new
        if self._load and not self.sustains(1):
            # No schedule keeps real time here: the most speech a second is all that is left to want.
            return self._step([*self._dry, *self._safe, *self._new, *self._aged, *self._quiet], _FOREVER_S)
        if not live:
            return self._step([*self._aged, *self._quiet], self._spare_s())
        return self._with_new() or self._playing()

    def sustains(self, count: int) -> bool:
        """Whether `count` streams at once can be kept in real time, in one batch or taking turns.

        No further than one stream beyond what was ever measured: sizes are learnt one by one.
        """
        if count > self._largest + 1:
            return False
        return _keeps_up(count, self._usual[count], self._rates[count], self._rules.headroom)

    def _rests(self, one: StreamPace) -> bool:
        bound_s = self._rules.wake_s if one.parked else self._rules.park_s
        return one.live and one.begun and one.lead_s > bound_s

    def _with_new(self) -> StepPlan | None:
        """A step for the streams that wait to begin, with only those beside them that cannot wait for it."""
        new = self._admitted() if not self._dry else []
        while new:
            need_s = 2 * self._curve[len(self._safe) + len(new)] + 2 * self._rules.margin_s
            for reach_s in (max(need_s, _COMFORT_S), need_s):
                plan = self._beside(new, sum(one.lead_s < reach_s for one in self._safe))
                if plan:
                    return plan
            new = new[: len(new) // 2]
        return None

    def _beside(self, new: list[StreamPace], urgent: int) -> StepPlan | None:
        """A step of `new` and of the `urgent` first of those that play; None where it takes too long."""
        run = [*self._safe[:urgent], *new]
        limit_s = self._limit_s(urgent, self._curve[len(self._safe) + len(new)])
        if self._curve[len(run)] + self._token_s > limit_s:
            return None
        plan = self._step(run, limit_s)
        return plan if self._is_alone(run) or self._survives(run, new, plan.prompt_tokens) else None

    def _is_alone(self, run: list[StreamPace]) -> bool:
        return len(run) == 1 and not (self._safe or self._mute or self._parked)

    def _survives(self, run: list[StreamPace], new: list[StreamPace], tokens: int) -> bool:
        """Whether everybody stays ahead in the rounds after this step, those who begin in it included."""
        begin = 0
        left = tokens
        for one in new:
            left -= one.prompt_tokens
            begin += left >= 0
        seconds = self._curve[len(run)] + tokens * self._token_s
        within = {one.key for one in run}
        leads = [one.lead_s - seconds + (FRAME_S if one.key in within else 0.0) for one in self._safe]
        # An opening of whole frames is hardly longer than a step. A machine whose steps take as long as it
        # plays has nothing to leave, and one whose steps take longer is late with the next whatever it does.
        whole_s = self._curve[min(self._load + begin, len(self._curve) - 1)]
        first_s = max(seconds_of(opening_frames(whole_s)), self._curve[1])
        margin_s = min(3 * self._rules.margin_s, (first_s - self._curve[1]) / 2)
        leads += [max(one.lead_s - seconds, first_s) for one in self._mute]
        leads += [first_s] * begin
        return _stays_ahead(leads, self._curve, margin_s)

    def _admitted(self) -> list[StreamPace]:
        """Of the new streams, those that have begun to run, and as many more as real time has room for."""
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
        limit_s = self._safe[0].lead_s if urgent else _FOREVER_S
        if urgent < len(self._safe):
            limit_s = min(limit_s, self._safe[urgent].lead_s - whole_s - 2 * self._rules.margin_s)
        if self._parked:
            limit_s = min(limit_s, self._spare_s())
        return limit_s - self._rules.margin_s

    def _playing(self) -> StepPlan:
        """A step of the streams that play: so many that whoever has least slack after it has most."""
        dry = len(self._dry)
        leads = [one.lead_s for one in self._safe]
        size, slack_s = _best_size(leads, self._curve, dry, self._rules.margin_s)
        while dry and slack_s < self._rules.margin_s:
            dry //= 2
            size, slack_s = _best_size(leads, self._curve, dry, self._rules.margin_s)
        run = [*self._safe[:size], *self._dry[:dry]]
        limit_s = (self._safe[0].lead_s if self._safe else _FOREVER_S) - self._rules.margin_s
        if size == len(self._safe):
            run += self._left_over(len(run), _OTHERS * limit_s)
        return self._step(run, limit_s)

    def _left_over(self, running: int, limit_s: float) -> list[StreamPace]:
        """Requests that nobody listens to, as many as the listeners' slack has room for."""
        has_spare = all(one.lead_s >= self._rules.spare_s for one in self._safe[:1]) and not self._dry
        wanting = [*self._aged, *self._quiet] if has_spare else self._aged
        count = 0
        while count < len(wanting) and self._curve[running + count + 1] + self._token_s <= limit_s:
            count += 1
        return wanting[:count]

    def _step(self, run: list[StreamPace], limit_s: float) -> StepPlan:
        left_s = limit_s - self._curve[len(run)]
        wanted = sum(one.prompt_tokens for one in run)
        tokens = min(wanted, max(int(_OTHERS * left_s / self._token_s), 0)) if self._token_s else wanted
        return StepPlan(
            tuple(one.key for one in run), tokens, frozenset(self._parked), max(self._spare_s(), 0.0)
        )

    def _spare_s(self) -> float:
        """Until the first of the parked streams must be awake."""
        leads = (one.lead_s for one in self._parked.values())
        return min((lead_s - self._rules.wake_s for lead_s in leads), default=_FOREVER_S)


def _best_rates(usual: list[float]) -> list[float]:
    """Frames a second that batches of 0, 1, ... streams or fewer make at best."""
    rates = (size / seconds if seconds else 0.0 for size, seconds in enumerate(usual))
    return list(accumulate(rates, max))


def _keeps_up(count: int, step_s: float, rate: float, headroom: float) -> bool:
    """Whether `count` streams keep real time, in one batch of `step_s` or taking turns at the best rate."""
    in_turns = rate * FRAME_S >= count * (1 + _IN_TURNS * headroom)
    return in_turns or step_s * (1 + headroom) <= FRAME_S


def _by_lead(one: StreamPace) -> float:
    return one.lead_s


def _by_age(one: StreamPace) -> float:
    return one.ran_s


def _by_arrival(one: StreamPace) -> float:
    return one.since_s


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
    return [lead_s - seconds + (FRAME_S if at < size else 0.0) for at, lead_s in enumerate(leads)]
