"""The Talker's book of its streams: what each has made and its client taken, and who runs next.

In: what happened to streams and steps, each with its moment. Out: a plan for the next step. Pure: neither
a clock nor an engine is known here; the scheduler asks, and so does the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from antiphon_executor.interface.playback import PlayHead, seconds_of
from antiphon_executor.ipc.messages import StepTimesTold
from antiphon_executor.scheduling.deadline import (
    DeadlineRules,
    StepPlan,
    StreamPace,
    live_streams,
    plan_step,
)
from antiphon_executor.scheduling.startup_buffer import opening_frames, opening_s
from antiphon_executor.scheduling.step_model import StepTimes

# So long after its first frame a stream should have got ahead of its client.
_SETTLED_S = 0.5
# Without a step for so long, what is known of steps is old.
_IDLE_S = 60.0

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
    frames: int = 0
    first_s: float = 0.0
    parked: bool = False
    admitted: bool = False
    ready: bool = False

    def lead_s(self, now_s: float, opening_s: float) -> float:
        """Until its client runs dry. What is less than an opening goes out too, after as long as that is."""
        if self.head.started or not self.frames:
            return self.head.buffered_s(now_s)
        return seconds_of(self.frames) + max(self.first_s + opening_s - now_s, 0.0)


class TalkerPace:
    """One a Talker. Streams are known by the key of their request."""

    def __init__(self, rules: DeadlineRules, planner: Planner = plan_step) -> None:
        self._rules = rules
        self._planner = planner
        self._entries: dict[str, _Entry] = {}
        self._ran_s = 0.0
        self.times = StepTimes()

    @property
    def parked(self) -> int:
        return sum(entry.parked for entry in self._entries.values())

    @property
    def opening_s(self) -> float:
        """Speech that a client should have before it begins to play, at the present load."""
        return opening_s(self._whole_step_s())

    def opened(self, key: str, now_s: float, *, live: bool) -> None:
        self._entries[key] = _Entry(live, now_s, now_s)

    def closed(self, key: str) -> PlayHead:
        """Forgets a stream. -> how its client fared."""
        return self._entries.pop(key).head

    def taken(self, key: str, now_s: float, seconds: float) -> None:
        """The client's socket had taken this much of a stream: it plays, however little it has."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if not entry.head.started and entry.frames:
            entry.head = entry.head.generated(now_s, seconds_of(entry.frames))
        entry.head = entry.head.consumed(now_s, seconds)

    def made(self, key: str, now_s: float, frames: int) -> float:
        """A stream has `frames` frames now. -> the slack that was left, in seconds.

        Its client begins as soon as they are an opening, or were held for as long as that is, or when its
        socket has taken something.
        """
        entry = self._entries[key]
        starts = entry.head.started or self._starts(entry, now_s, frames)
        slack_s = entry.head.buffered_s(now_s)
        entry.frames = frames
        if starts:
            entry.head = entry.head.generated(now_s, seconds_of(frames))
        return slack_s

    def slack_s(self, key: str, now_s: float) -> float:
        """How long a stream can do without a step; infinite if it is not live."""
        entry = self._entries[key]
        return entry.lead_s(now_s, self.opening_s) if entry.live else math.inf

    def measured(self, streams: int, prompt_tokens: int, seconds: float) -> None:
        """A step is over. `prompt_tokens`: those beyond one a stream."""
        self.times = self.times.measured(streams, prompt_tokens, seconds)

    def told(self, most: int, now_s: float) -> StepTimesTold | None:
        """What the server should know of the steps' times, for `most` streams. None: none was measured.

        While somebody has less in hand than it began with there is room for no more, whatever steps take.
        """
        times = self.times.usual()
        if not times.largest:
            return None
        step_s = tuple(round(seconds, 4) for seconds in times.curve(times.largest)[1:])
        room = live_streams(times, most, self._rules.headroom)
        if self._is_short(now_s):
            room = min(room, sum(entry.live for entry in self._entries.values()))
        return StepTimesTold(step_s, room, round(self.opening_s, 3))

    def plan(self, now_s: float, candidates: Iterable[Candidate]) -> StepPlan:
        """Who runs in the step that begins now; the plan counts as carried out.

        A stream that is open and no candidate waits for text: it will be back, and has its place.
        """
        if now_s - self._ran_s > _IDLE_S:
            self.times, self._ran_s = self.times.aged(), now_s
        present = {one.key: one for one in candidates}
        absent = (Candidate(key, 0, ready=False) for key in self._entries if key not in present)
        opening_s = self.opening_s
        views = [self._view(one, now_s, opening_s) for one in (*present.values(), *absent)]
        plan = self._planner(now_s, views, self.times, self._rules)
        for key, entry in self._entries.items():
            entry.parked = key in plan.parked
            entry.ready = key in present and present[key].ready
        for key in plan.run:
            entry = self._entries[key]
            entry.admitted, entry.ran_s = True, now_s
            self._ran_s = now_s
        return plan

    def _is_short(self, now_s: float) -> bool:
        opening_s = self.opening_s
        return any(
            entry.live and entry.head.started and entry.ready and entry.lead_s(now_s, opening_s) < opening_s
            for entry in self._entries.values()
            if now_s - entry.first_s > _SETTLED_S
        )

    def _starts(self, entry: _Entry, now_s: float, frames: int) -> bool:
        """Whether the client plays from now on, or has done so since its first frames were let go."""
        step_s = self._whole_step_s()
        if not entry.frames:
            entry.first_s = now_s
        released_s = entry.first_s + opening_s(step_s)
        if now_s > released_s:
            entry.head = entry.head.generated(released_s, seconds_of(entry.frames))
        return entry.head.started or frames >= opening_frames(step_s)

    def _whole_step_s(self) -> float:
        """What a step hardly exceeds that has everybody in it who is listened to."""
        load = sum(entry.live and entry.admitted for entry in self._entries.values())
        return self.times.curve(max(load, 1))[-1]

    def _view(self, one: Candidate, now_s: float, opening_s: float) -> StreamPace:
        entry = self._entries[one.key]
        return StreamPace(
            key=one.key,
            live=entry.live,
            begun=entry.frames > 0,
            lead_s=entry.lead_s(now_s, opening_s),
            prompt_tokens=one.prompt_tokens,
            ready=one.ready,
            parked=entry.parked,
            admitted=entry.admitted,
            since_s=entry.since_s,
            ran_s=entry.ran_s,
        )
