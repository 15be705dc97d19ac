"""The book of the Talker's streams: what each has generated, what its client has consumed, who runs next.

Without clock and engine: the scheduler, or a simulation, reports events with their time and asks for a plan.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from antiphon_executor.interface.playback import PlayHead, seconds_of
from antiphon_executor.ipc.messages import StepTimesReport
from antiphon_executor.scheduling.deadline import PlanStep, plan_step
from antiphon_executor.scheduling.real_time import sustainable_streams
from antiphon_executor.scheduling.startup_buffer import startup_buffer_s
from antiphon_executor.scheduling.step_jitter import StepJitter
from antiphon_executor.scheduling.step_model import StepTimes
from antiphon_executor.scheduling.step_plan import PacingRules, StepPlan, StreamStatus

# This long after its first frame a stream should have more buffered than its startup buffer.
_GRACE_S = 0.5
# Share of the steps that the startup buffer covers, and of those that admission counts with.
_BUFFERED_SHARE = 0.995
_ADMITTED_SHARE = 0.95
# A client with less audio than this many slow steps must get its next frame in time.
_URGENT_STEPS = 1.5
# A stream that has waited longer for its first text does not wait for the Thinker's next steps, but for its
# thoughts.
_FIRST_TEXT_S = 1.0
# After this long without a step, the step times are out of date.
_IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream in the engine's queues. `prompt_tokens`: to compute beyond one; `ready`: it can run now."""

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
    primed: bool = True

    def buffered_s(self, now_s: float, startup_buffer_s: float) -> float:
        """Time until the client underruns. Less than a startup buffer is held back for as long as that is."""
        if self.head.started or not self.frames:
            return self.head.buffered_s(now_s)
        return seconds_of(self.frames) + max(self.first_s + startup_buffer_s - now_s, 0.0)


class StreamBook:
    """One per Talker. A stream's key is the id of its request; times are monotonic seconds."""

    def __init__(
        self, rules: PacingRules, plan_next: PlanStep = plan_step, times: StepTimes | None = None
    ) -> None:
        """`times`: the model of step times to begin with."""
        self._rules = rules
        self._plan_next = plan_next
        self._entries: dict[str, _Entry] = {}
        self._last_step_s = 0.0
        self.times = times or StepTimes()
        self._jitter = StepJitter()
        self._full_step = (self.times, 0, 0.0, 0.0)
        self._reported_s: float | None = None

    @property
    def paused(self) -> int:
        """How many streams the last plan paused."""
        return sum(entry.paused for entry in self._entries.values())

    @property
    def startup_buffer_s(self) -> float:
        """Audio that a client should have before it starts to play.

        As in the last report, because the server holds back that much; without one, that of the present load.
        """
        return startup_buffer_s(*self._full_step_s()) if self._reported_s is None else self._reported_s

    def add_stream(self, key: str, now_s: float, *, live: bool, primed: bool = True) -> None:
        """`primed`: its first step gives a frame; else `prompt_computed` comes before."""
        self._entries[key] = _Entry(live, now_s, now_s, primed=primed)

    def prompt_computed(self, key: str) -> None:
        """The stream's prompt is in the cache, so that its next step gives its first frame."""
        self._entries[key].primed = True

    def remove_stream(self, key: str) -> PlayHead:
        """Forgets a stream and returns the final state of its playback."""
        return self._entries.pop(key).head

    def client_consumed(self, key: str, now_s: float, seconds: float) -> None:
        """The client's socket has consumed `seconds` in total, so the client plays."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if not entry.head.started and entry.frames:
            entry.head = entry.head.generated(now_s, seconds_of(entry.frames))
        entry.head = entry.head.consumed(now_s, seconds)

    def frames_generated(self, key: str, now_s: float, frames: int) -> float:
        """The stream has `frames` frames in total. Returns the slack that was left, in seconds.

        The client starts to play when the frames fill a startup buffer, when the first frame has been held
        back for that long, or when its socket has consumed something.
        """
        entry = self._entries[key]
        starts = entry.head.started or self._playback_starts(entry, now_s, frames)
        slack_s = entry.head.buffered_s(now_s)
        entry.frames = frames
        if starts:
            entry.head = entry.head.generated(now_s, seconds_of(frames))
        return slack_s

    def slack_s(self, key: str, now_s: float) -> float:
        """How long a stream can do without a step; infinite for a batch request."""
        entry = self._entries[key]
        return entry.buffered_s(now_s, self.startup_buffer_s) if entry.live else math.inf

    def step_measured(self, streams: int, prompt_tokens: int, seconds: float) -> None:
        """A step has ended. `prompt_tokens`: tokens beyond one per stream."""
        excess_s = self.times.excess_s(streams, prompt_tokens, seconds)
        if excess_s is not None:
            self._jitter.add(excess_s)
        self.times = self.times.with_measurement(streams, prompt_tokens, seconds)

    def step_times_report(self, max_streams: int, now_s: float) -> StepTimesReport | None:
        """What the server should know about step times, for at most `max_streams`; None before any step.

        While a stream has less audio buffered than its startup buffer, no further stream is reported to fit.
        """
        times = self.times.with_jitter(self._jitter.percentile_s(_ADMITTED_SHARE))
        if not times.largest:
            return None
        step_s = tuple(round(seconds, 4) for seconds in self.times.typical().curve(times.largest)[1:])
        limit = sustainable_streams(times, max_streams, self._rules.headroom)
        if self._has_low_buffer(now_s):
            limit = min(limit, sum(entry.live for entry in self._entries.values()))
        self._reported_s = round(startup_buffer_s(*self._full_step_s()), 4)
        return StepTimesReport(step_s, limit, self._reported_s)

    def starts_in(self, plan: StepPlan) -> bool:
        """Whether a live stream gets its first frame in the step, unless its prompt takes longer."""
        run = (self._entries[key] for key in plan.run)
        return any(entry.live and entry.primed and not entry.frames for entry in run)

    def urgent_s(self, plan: StepPlan, now_s: float) -> float:
        """How long the step may be expected to take if it must not be slowed down; 0.0 if it may be.

        That is a step before which a client has little audio, or in which a stream starts while no other
        waits for the text with which it can start.
        """
        usual_s, slow_s = self._full_step_s()
        startup_s, bound_s = self.startup_buffer_s, max(usual_s, slow_s)
        least_s = min(
            (
                entry.buffered_s(now_s, startup_s)
                for entry in self._entries.values()
                if entry.live and entry.frames and entry.ready
            ),
            default=math.inf,
        )
        starts = self.starts_in(plan) and not self._awaits_first_text()
        return bound_s if starts or least_s < _URGENT_STEPS * bound_s else 0.0

    def sound_until_s(self, now_s: float, lacking: Container[str]) -> float:
        """Until then every live client has sound, if no more is generated; `now_s` if one has just come.

        `lacking`: streams of which more text has to come. The sound of the others needs none.
        """
        startup_s = self.startup_buffer_s
        playing = [
            entry
            for key, entry in self._entries.items()
            if entry.live and key in lacking and self._plays(entry, now_s)
        ]
        return now_s + min((entry.buffered_s(now_s, startup_s) for entry in playing), default=math.inf)

    def plan(self, now_s: float, candidates: Iterable[Candidate]) -> StepPlan:
        """Plans the step that begins now; the plan counts as carried out.

        A known stream that is not among the candidates waits for text and keeps its place.
        """
        if now_s - self._last_step_s > _IDLE_S:
            self.times, self._last_step_s = self.times.after_idle(), now_s
        present = {one.key: one for one in candidates}
        absent = (Candidate(key, 0, ready=False) for key in self._entries if key not in present)
        startup_s = self.startup_buffer_s
        streams = [self._status_of(one, now_s, startup_s) for one in (*present.values(), *absent)]
        plan = self._plan_next(now_s, streams, self.times, self._rules)
        for key, entry in self._entries.items():
            entry.paused = key in plan.paused
            entry.ready = key in present and present[key].ready
        for key in plan.run:
            entry = self._entries[key]
            entry.admitted, entry.last_step_s = True, now_s
            self._last_step_s = now_s
        return plan

    def _plays(self, entry: _Entry, now_s: float) -> bool:
        """Whether its client plays, or is about to."""
        return entry.frames > 0 or now_s - entry.arrived_s < _FIRST_TEXT_S

    def _awaits_first_text(self) -> bool:
        return any(one.live and not one.frames and not one.ready for one in self._entries.values())

    def _has_low_buffer(self, now_s: float) -> bool:
        startup_s = self.startup_buffer_s
        return any(
            entry.live
            and entry.head.started
            and entry.ready
            and entry.buffered_s(now_s, startup_s) < startup_s
            for entry in self._entries.values()
            if now_s - entry.first_s > _GRACE_S
        )

    def _playback_starts(self, entry: _Entry, now_s: float, frames: int) -> bool:
        """Whether the client plays from now on, or since its held-back first frames were released."""
        buffer_s = self.startup_buffer_s
        if not entry.frames:
            entry.first_s = now_s
        released_s = entry.first_s + buffer_s
        if now_s > released_s:
            entry.head = entry.head.generated(released_s, seconds_of(entry.frames))
        return entry.head.started or seconds_of(frames) >= buffer_s

    def _full_step_s(self) -> tuple[float, float]:
        """Upper bounds of a step with all admitted live streams in it: of a usual one, and of a slow one."""
        load = max(sum(entry.live and entry.admitted for entry in self._entries.values()), 1)
        times, known_load, usual_s, slow_s = self._full_step
        if times is not self.times or known_load != load:
            slow = self.times.with_jitter(self._jitter.percentile_s(_BUFFERED_SHARE))
            usual_s, slow_s = self.times.curve(load)[-1], slow.curve(load)[-1]
            self._full_step = (self.times, load, usual_s, slow_s)
        return usual_s, slow_s

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
