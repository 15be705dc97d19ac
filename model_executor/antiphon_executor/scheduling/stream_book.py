"""The Talker's book of its streams: what each has made and its client taken, and who runs next.

In: what happened to streams and steps, each with its moment. Out: a plan for the next step. Pure: neither
a clock nor an engine is known here; the scheduler asks, and so does the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from antiphon_executor.interface.playback import PlayHead, seconds_of
from antiphon_executor.ipc.messages import StepTimesReport
from antiphon_executor.scheduling.deadline import (
    PacingRules,
    StepPlan,
    StreamStatus,
    plan_step,
    sustainable_streams,
)
from antiphon_executor.scheduling.startup_buffer import startup_buffer_frames, startup_buffer_s
from antiphon_executor.scheduling.step_model import StepTimes

# So long after its first frame a stream should have got ahead of its client.
_GRACE_S = 0.5
# Without a step for so long, what is known of steps is old.
_IDLE_S = 60.0

PlanStep = Callable[[float, Sequence[StreamStatus], StepTimes, PacingRules], StepPlan]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream as the engine has it: prompt tokens to compute beyond one, and whether it could run at all."""

    key: str
    prompt_tokens: int
    ready: bool


@dataclass(slots=True)
class _Entry:
    live: bool
    arrived_s: float
    last_step_s: float
    head: PlayHead = field(default_factory=PlayHead)
    frames: int = 0
    first_s: float = 0.0
    paused: bool = False
    admitted: bool = False
    ready: bool = False

    def buffered_s(self, now_s: float, startup_buffer_s: float) -> float:
        """Until its client runs dry. What is less than an opening goes out too, after as long as that is."""
        if self.head.started or not self.frames:
            return self.head.buffered_s(now_s)
        return seconds_of(self.frames) + max(self.first_s + startup_buffer_s - now_s, 0.0)


class StreamBook:
    """One a Talker. Streams are known by the key of their request."""

    def __init__(self, rules: PacingRules, plan_next: PlanStep = plan_step) -> None:
        self._rules = rules
        self._plan_next = plan_next
        self._entries: dict[str, _Entry] = {}
        self._last_step_s = 0.0
        self.times = StepTimes()

    @property
    def paused(self) -> int:
        return sum(entry.paused for entry in self._entries.values())

    @property
    def startup_buffer_s(self) -> float:
        """Speech that a client should have before it begins to play, at the present load."""
        return startup_buffer_s(self._full_step_s())

    def add_stream(self, key: str, now_s: float, *, live: bool) -> None:
        self._entries[key] = _Entry(live, now_s, now_s)

    def remove_stream(self, key: str) -> PlayHead:
        """Forgets a stream. -> how its client fared."""
        return self._entries.pop(key).head

    def client_consumed(self, key: str, now_s: float, seconds: float) -> None:
        """The client's socket had taken this much of a stream: it plays, however little it has."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if not entry.head.started and entry.frames:
            entry.head = entry.head.generated(now_s, seconds_of(entry.frames))
        entry.head = entry.head.consumed(now_s, seconds)

    def frames_generated(self, key: str, now_s: float, frames: int) -> float:
        """A stream has `frames` frames now. -> the slack that was left, in seconds.

        Its client begins as soon as they are an opening, or were held for as long as that is, or when its
        socket has taken something.
        """
        entry = self._entries[key]
        starts = entry.head.started or self._playback_starts(entry, now_s, frames)
        slack_s = entry.head.buffered_s(now_s)
        entry.frames = frames
        if starts:
            entry.head = entry.head.generated(now_s, seconds_of(frames))
        return slack_s

    def slack_s(self, key: str, now_s: float) -> float:
        """How long a stream can do without a step; infinite if it is not live."""
        entry = self._entries[key]
        return entry.buffered_s(now_s, self.startup_buffer_s) if entry.live else math.inf

    def step_measured(self, streams: int, prompt_tokens: int, seconds: float) -> None:
        """A step is over. `prompt_tokens`: those beyond one a stream."""
        self.times = self.times.measured(streams, prompt_tokens, seconds)

    def step_times_report(self, most: int, now_s: float) -> StepTimesReport | None:
        """What the server should know of the steps' times, for `most` streams. None: none was measured.

        While somebody has less in hand than it began with there is room for no more, whatever steps take.
        """
        times = self.times.usual()
        if not times.largest:
            return None
        step_s = tuple(round(seconds, 4) for seconds in times.curve(times.largest)[1:])
        room = sustainable_streams(times, most, self._rules.headroom)
        if self._has_low_buffer(now_s):
            room = min(room, sum(entry.live for entry in self._entries.values()))
        return StepTimesReport(step_s, room, round(self.startup_buffer_s, 3))

    def plan(self, now_s: float, candidates: Iterable[Candidate]) -> StepPlan:
        """Who runs in the step that begins now; the plan counts as carried out.

        A stream that is open and no candidate waits for text: it will be back, and has its place.
        """
        if now_s - self._last_step_s > _IDLE_S:
            self.times, self._last_step_s = self.times.aged(), now_s
        present = {one.key: one for one in candidates}
        absent = (Candidate(key, 0, ready=False) for key in self._entries if key not in present)
        startup_buffer_s = self.startup_buffer_s
        streams = [self._status_of(one, now_s, startup_buffer_s) for one in (*present.values(), *absent)]
        plan = self._plan_next(now_s, streams, self.times, self._rules)
        for key, entry in self._entries.items():
            entry.paused = key in plan.paused
            entry.ready = key in present and present[key].ready
        for key in plan.run:
            entry = self._entries[key]
            entry.admitted, entry.last_step_s = True, now_s
            self._last_step_s = now_s
        return plan

    def _has_low_buffer(self, now_s: float) -> bool:
        startup_buffer_s = self.startup_buffer_s
        return any(
            entry.live
            and entry.head.started
            and entry.ready
            and entry.buffered_s(now_s, startup_buffer_s) < startup_buffer_s
            for entry in self._entries.values()
            if now_s - entry.first_s > _GRACE_S
        )

    def _playback_starts(self, entry: _Entry, now_s: float, frames: int) -> bool:
        """Whether the client plays from now on, or has done so since its first frames were let go."""
        step_s = self._full_step_s()
        if not entry.frames:
            entry.first_s = now_s
        released_s = entry.first_s + startup_buffer_s(step_s)
        if now_s > released_s:
            entry.head = entry.head.generated(released_s, seconds_of(entry.frames))
        return entry.head.started or frames >= startup_buffer_frames(step_s)

    def _full_step_s(self) -> float:
        """What a step hardly exceeds that has everybody in it who is listened to."""
        load = sum(entry.live and entry.admitted for entry in self._entries.values())
        return self.times.curve(max(load, 1))[-1]

    def _status_of(self, one: Candidate, now_s: float, startup_buffer_s: float) -> StreamStatus:
        entry = self._entries[one.key]
        return StreamStatus(
            key=one.key,
            live=entry.live,
            started=entry.frames > 0,
            buffered_s=entry.buffered_s(now_s, startup_buffer_s),
            prompt_tokens=one.prompt_tokens,
            ready=one.ready,
            paused=entry.paused,
            admitted=entry.admitted,
            arrived_s=entry.arrived_s,
            last_step_s=entry.last_step_s,
        )
