"""A simulated Talker: steps of known length, streams with text of their own, clients that play and pause.

A step cannot be stopped; what arrives while it runs waits for the next. A client plays as soon as it has
audio and underruns if a frame is late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from antiphon_executor.interface.playback import FRAME_S, seconds_of
from antiphon_executor.scheduling.step_plan import PacingRules
from antiphon_executor.scheduling.stream_book import Candidate, StreamBook
from tests.talker.workloads import Call, Workload

# A frame is late for its player, but not before its text has been there for this long: else it is the text's.
TEXT_GRACE_S = 0.25
_TOLERANCE_S = 1e-6
_IDLE_S = 0.002
_STUCK_S = 600.0


@dataclass
class Stream:
    """One running call. `due_s`: when its player underruns."""

    number: int
    call: Call
    prompt_left: int
    frames: int = 0
    began_s: float | None = None
    due_s: float = 0.0
    underruns: int = 0
    underrun_s: float = 0.0
    first_s: float = 0.0
    pauses: list[tuple[float, float]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return str(self.number)

    def ready(self, now_s: float) -> bool:
        return self.prompt_left > 1 or self.call.text_s[self.frames] <= now_s

    def deliver(self, now_s: float, startup_buffer_s: float) -> None:
        """Adds a frame. The client starts with a startup buffer, or after that time."""
        text_s = self.call.text_s[self.frames]
        self.hold_no_longer(now_s, startup_buffer_s)
        self.frames += 1
        self.first_s = now_s if self.frames == 1 else self.first_s
        if self.began_s is None:
            if seconds_of(self.frames) >= startup_buffer_s or self.frames == self.call.frames:
                self._begin(now_s)
            return
        if now_s > max(self.due_s, text_s + TEXT_GRACE_S) + _TOLERANCE_S:
            self.underruns += 1
            self.underrun_s += now_s - self.due_s
        self.due_s = self._played(max(self.due_s, now_s), FRAME_S)

    def hold_no_longer(self, now_s: float, startup_buffer_s: float) -> None:
        """Releases less than a startup buffer after that time."""
        if self.frames and self.began_s is None and now_s > self.first_s + startup_buffer_s:
            self._begin(self.first_s + startup_buffer_s)

    def _begin(self, now_s: float) -> None:
        self.began_s = now_s
        self.due_s = self._played(now_s, seconds_of(self.frames))

    def _played(self, begin_s: float, seconds: float) -> float:
        """When a player that begins a piece at `begin_s` has played it, pauses included."""
        end_s = begin_s + seconds
        for pause in self.call.pauses:
            if begin_s < pause[1] and pause[0] < end_s:
                end_s += pause[1] - max(pause[0], begin_s)
        return end_s

    def taken_frames(self, now_s: float) -> int:
        """Frames that the client has consumed: all of them, unless it is paused."""
        if self.began_s is not None:
            for begin, end in self.call.pauses:
                if begin <= now_s < end:
                    return min(int(max(begin - self.began_s, 0.0) / FRAME_S) + 1, self.frames)
            return self.frames
        return 0


@dataclass(frozen=True)
class Fate:
    """The outcome of a call. `began_s`: None if it never spoke."""

    live: bool
    began_s: float | None
    start_by_s: float
    ended_s: float
    underruns: int
    underrun_s: float

    @property
    def late(self) -> bool:
        return self.live and (self.began_s is None or self.began_s > self.start_by_s)

    @property
    def stuttered(self) -> bool:
        return self.live and self.underruns > 0

    @property
    def clean(self) -> bool:
        """Started in time, without an underrun."""
        return self.live and not self.late and not self.stuttered


@dataclass(frozen=True)
class Choice:
    """The streams of a step, in order, and the most prompt tokens beyond one each."""

    run: Sequence[Stream]
    prompt_tokens: int


class Schedule:
    """First come, first served: all streams that have text, up to the sizes of batch and step."""

    def __init__(self, work: Workload, max_num_seqs: int | None = None) -> None:
        self._limit = max_num_seqs or work.machine.slots
        self._step_tokens = work.machine.step_tokens

    def choose(self, now_s: float, streams: Sequence[Stream]) -> Choice:
        return Choice([one for one in streams[: self._limit] if one.ready(now_s)], self._step_tokens)

    def startup_buffer_s(self) -> float:
        """Audio that a client gets first; other servers send a single frame."""
        return 0.0

    def stepped(self, now_s: float, streams: Sequence[Stream], tokens: int, seconds: float) -> None:
        """After a step: a schedule that learns does so here."""

    def ended(self, stream: Stream) -> None:
        """A stream has its last frame."""


class DeadlineSchedule(Schedule):
    """The product's policy. `seen`: steps of each size that it has measured before, as after some traffic."""

    def __init__(self, work: Workload, seen: int = 8) -> None:
        super().__init__(work)
        self.book = StreamBook(PacingRules())
        random = np.random.default_rng(work.seed + 2)
        machine = work.machine
        for streams in range(1, machine.slots + 1):
            for luck in random.random(seen):
                self.book.step_measured(streams, 0, machine.step_s(streams) * (1 + machine.jitter * luck))
        for luck in random.random(seen):
            self.book.step_measured(1, 100, machine.step_s(1, 100) * (1 + machine.jitter * luck))
        self._known: set[str] = set()
        self._taken: dict[str, int] = {}

    def choose(self, now_s: float, streams: Sequence[Stream]) -> Choice:
        present = streams[: self._limit]
        for one in present:
            if one.key not in self._known:
                self._known.add(one.key)
                self.book.add_stream(one.key, now_s, live=one.call.live)
        self._report(now_s, present)
        candidates = [Candidate(one.key, max(one.prompt_left - 1, 0), one.ready(now_s)) for one in present]
        plan = self.book.plan(now_s, candidates)
        by_key = {one.key: one for one in present}
        return Choice([by_key[key] for key in plan.run], min(plan.prompt_tokens, self._step_tokens))

    def stepped(self, now_s: float, streams: Sequence[Stream], tokens: int, seconds: float) -> None:
        self.book.step_measured(len(streams), tokens, seconds)
        for one in streams:
            if one.frames:
                self.book.frames_generated(one.key, now_s, one.frames)

    def startup_buffer_s(self) -> float:
        return self.book.startup_buffer_s

    def ended(self, stream: Stream) -> None:
        self.book.remove_stream(stream.key)

    def _report(self, now_s: float, streams: Sequence[Stream]) -> None:
        """What the clients had consumed when the previous step was planned; reports are that old."""
        startup_buffer_s = self.startup_buffer_s()
        for one in streams:
            one.hold_no_longer(now_s, startup_buffer_s)
            if taken := self._taken.get(one.key):
                self.book.client_consumed(one.key, now_s, seconds_of(taken))
            self._taken[one.key] = one.taken_frames(now_s)


def simulate(work: Workload, schedule: Schedule) -> list[Fate]:
    """Runs a workload to its end. The same workload has the same jitter, step by step."""
    random = np.random.default_rng(work.seed + 1)
    coming = [Stream(i, call, call.prompt_tokens) for i, call in enumerate(work.calls)]
    fates: dict[int, Fate] = {}
    now_s, running = 0.0, list[Stream]()
    while coming or running:
        while coming and coming[0].call.arrives_s <= now_s:
            running.append(coming.pop(0))
        choice = schedule.choose(now_s, running) if running else Choice((), 0)
        if not choice.run:
            now_s = max(now_s + _IDLE_S, coming[0].call.arrives_s if coming and not running else 0.0)
        else:
            now_s = _step(work, schedule, choice, now_s, float(random.random()))
            for one in [one for one in running if one.frames == one.call.frames]:
                running.remove(one)
                fates[one.number] = _fate(one, now_s)
                schedule.ended(one)
        if now_s > _STUCK_S:
            raise AssertionError(f"workload {work.seed} never ends")
    return [fates[number] for number in range(len(work.calls))]


def _step(work: Workload, schedule: Schedule, choice: Choice, now_s: float, luck: float) -> float:
    left = choice.prompt_tokens
    spent = 0
    for one in choice.run:
        chunk = min(max(one.prompt_left - 1, 0), left)
        left -= chunk
        spent += chunk
        if one.prompt_left:
            one.prompt_left -= chunk + 1
    seconds = work.machine.step_s(len(choice.run), spent) * (1 + work.machine.jitter * luck)
    now_s += seconds
    startup_buffer_s = schedule.startup_buffer_s()
    for one in choice.run:
        if one.prompt_left <= 0:
            one.prompt_left = 0
            one.deliver(now_s, startup_buffer_s)
    schedule.stepped(now_s, choice.run, spent, seconds)
    return now_s


def _fate(one: Stream, now_s: float) -> Fate:
    return Fate(one.call.live, one.began_s, one.call.start_by_s, now_s, one.underruns, one.underrun_s)
