"""Random workloads for the Talker's scheduler: arrival times, text, speed of the machine.

The same seed gives the same `Workload` to every schedule. Loads are a fifth to three times of what the
machine can serve in real time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.playback import FRAME_S, seconds_of


@dataclass(frozen=True)
class Machine:
    """Step times. `per_stream_s` counts whole groups of `grain` streams, as CUDA graphs are padded."""

    base_s: float
    per_stream_s: float
    per_token_s: float
    grain: int
    jitter: float
    slots: int
    step_tokens: int

    def step_s(self, streams: int, prompt_tokens: int = 0) -> float:
        """A step without jitter, which only ever makes it longer."""
        padded = -(-streams // self.grain) * self.grain
        return self.base_s + self.per_stream_s * padded + self.per_token_s * prompt_tokens

    @property
    def real_time_streams(self) -> int:
        """How many streams the machine can sustain."""
        return max((n for n in range(1, 200) if self.step_s(n) <= FRAME_S), default=0)


@dataclass(frozen=True)
class Call:
    """One spoken answer. `text_s[f]`: when frame f's text is there; `pauses`: when the client stands still.

    `start_by_s`: deadline of its first audio. `live` False: a batch request, without deadlines.
    """

    arrives_s: float
    prompt_tokens: int
    frames: int
    start_by_s: float
    live: bool
    text_s: tuple[float, ...]
    pauses: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Workload:
    machine: Machine
    calls: tuple[Call, ...]
    load: float
    seed: int


def draw_workload(seed: int) -> Workload:
    random = np.random.default_rng(seed)
    machine = draw_machine(random)
    load = float(random.uniform(0.2, 3.0))
    mean_s = float(random.uniform(1.5, 5.0))
    span_s = float(random.uniform(3.0, 8.0))
    expected = load * machine.real_time_streams * (span_s + mean_s) / mean_s
    count = int(np.clip(random.poisson(expected), 1, 60))
    arrivals = np.sort(random.uniform(0.0, span_s, count))
    if random.random() < 0.25:
        arrivals[: count // 2] = arrivals[0]
    calls = tuple(draw_call(random, machine, float(at), mean_s) for at in np.sort(arrivals))
    return Workload(machine, calls, load, seed)


def draw_machine(random: np.random.Generator) -> Machine:
    base_s = float(random.uniform(0.003, 0.032))
    capacity = float(random.uniform(2.0, 14.0))
    grain = int(random.choice([1, 1, 2, 4]))
    per_stream_s = (FRAME_S - base_s) / capacity
    jitter = float(random.choice([0.0, 0.05, 0.2]))
    # On slower machines no schedule can play a first frame of 57 ms and have the second in time.
    while (base_s + per_stream_s * grain) * (1 + jitter) > 0.9 * seconds_of(1):
        per_stream_s /= 1.5
    streams = max(int(capacity), 1)
    return Machine(
        base_s=base_s,
        per_stream_s=per_stream_s,
        per_token_s=float(random.uniform(5e-6, 5e-5)),
        grain=grain,
        jitter=jitter,
        slots=max(int(streams * random.uniform(1.0, 3.0)), 2),
        step_tokens=2048,
    )


def draw_call(random: np.random.Generator, machine: Machine, at: float, mean_s: float) -> Call:
    prompt = int(random.integers(20, 60) if random.random() < 0.8 else random.integers(300, 3000))
    frames = int(np.clip(random.exponential(mean_s) / FRAME_S, 5, 150))
    alone_s = machine.step_s(1, prompt) * (1 + machine.jitter)
    return Call(
        arrives_s=at,
        prompt_tokens=prompt,
        frames=frames,
        start_by_s=at + 2 * alone_s + float(random.uniform(0.3, 2.5)),
        live=bool(random.random() < 0.85),
        text_s=draw_text(random, at, frames),
        pauses=draw_pauses(random, at, frames),
    )


def draw_text(random: np.random.Generator, at: float, frames: int) -> tuple[float, ...]:
    """Text is spoken at a token a frame and comes faster than that; one answer in five is held up once."""
    times = at + np.arange(frames) / random.uniform(15.0, 80.0)
    if random.random() < 0.2:
        times[int(random.integers(0, frames)) :] += random.uniform(0.1, 1.5)
    return tuple(times.tolist())


def draw_pauses(random: np.random.Generator, at: float, frames: int) -> tuple[tuple[float, float], ...]:
    if random.random() > 0.15:
        return ()
    begin = at + float(random.uniform(0.2, math.ceil(seconds_of(frames))))
    return ((begin, begin + float(random.uniform(0.3, 3.0))),)
