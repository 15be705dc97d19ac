"""The Talker's book of its streams: what each has made and its client taken, and who runs next.

In: what happened to streams and steps, each with its moment. Out: a plan for the next step. Pure: neither
a clock nor an engine is known here; the scheduler asks, and so does the simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from antiphon_executor.messages import StepTimesTold
from antiphon_executor.talker.deadline import (
    DeadlineRules,
    StepPlan,
    StreamPace,
    live_streams,
    plan_step,
)
from antiphon_executor.talker.play_head import PlayHead, seconds_of
from antiphon_executor.talker.step_times import StepTimes

Planner = Callable[[float, Sequence[StreamPace], StepTimes, DeadlineRules], StepPlan]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream as the engine has it: prompt tokens to compute beyond one, and whether it could run at all."""

    key: str
    prompt_tokens: int
    ready: bool


@dataclass(slots=True)
class _Entry:
    live: bool
    since_s: float
    ran_s: float
    head: PlayHead = field(default_factory=PlayHead)
    parked: bool = False
    admitted: bool = False


class TalkerPace:
    """One a Talker. Streams are known by the key of their request."""

    def __init__(self, rules: DeadlineRules, planner: Planner = plan_step) -> None:
        self._rules = rules
        self._planner = planner
        self._entries: dict[str, _Entry] = {}
        self.times = StepTimes()

    @property
    def parked(self) -> int:
        return sum(entry.parked for entry in self._entries.values())

    def opened(self, key: str, now_s: float, *, live: bool) -> None:
        self._entries[key] = _Entry(live, now_s, now_s)

    def closed(self, key: str) -> PlayHead:
        """Forgets a stream. -> how its client fared."""
        return self._entries.pop(key).head

    def taken(self, key: str, now_s: float, seconds: float) -> None:
        """The client's socket had taken this much of a stream."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.head = entry.head.taken(now_s, seconds)

    def made(self, key: str, now_s: float, frames: int) -> float:
        """A stream has `frames` frames now. -> the slack that was left, in seconds."""
        entry = self._entries[key]
        slack_s = entry.head.lead_s(now_s)
        entry.head = entry.head.made(now_s, seconds_of(frames))
        return slack_s

    def measured(self, streams: int, prompt_tokens: int, seconds: float) -> None:
        """A step is over. `prompt_tokens`: those beyond one a stream."""
        self.times = self.times.measured(streams, prompt_tokens, seconds)

    def told(self, most: int) -> StepTimesTold | None:
        """What the server should know of the steps' times, for `most` streams. None: none was measured."""
        times = self.times.usual()
        if not times.largest:
            return None
        step_s = tuple(round(seconds, 4) for seconds in times.curve(times.largest)[1:])
        return StepTimesTold(step_s, live_streams(times, most, self._rules.headroom))

    def plan(self, now_s: float, candidates: Iterable[Candidate]) -> StepPlan:
        """Who runs in the step that begins now; the plan counts as carried out.

        A stream that is open and no candidate waits for text: it will be back, and has its place.
        """
        present = {one.key: one for one in candidates}
        absent = (Candidate(key, 0, ready=False) for key in self._entries if key not in present)
        views = [self._view(one, now_s) for one in (*present.values(), *absent)]
        plan = self._planner(now_s, views, self.times, self._rules)
        for key, entry in self._entries.items():
            entry.parked = key in plan.parked
        for key in plan.run:
            entry = self._entries[key]
            entry.admitted, entry.ran_s = True, now_s
        return plan

    def _view(self, one: Candidate, now_s: float) -> StreamPace:
        entry = self._entries[one.key]
        return StreamPace(
            key=one.key,
            live=entry.live,
            begun=entry.head.begun,
            lead_s=entry.head.lead_s(now_s),
            prompt_tokens=one.prompt_tokens,
            ready=one.ready,
            parked=entry.parked,
            admitted=entry.admitted,
            since_s=entry.since_s,
            ran_s=entry.ran_s,
        )
