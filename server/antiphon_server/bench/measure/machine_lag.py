"""The machine's own lag beside a measurement: a bare timer loop, and the CPU time that the hypervisor took.

It tells the load of a machine's other guests from that of the server under test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from antiphon_server.bench.measure.percentiles import Distribution
from antiphon_server.bench.measure.player import Underrun

# A longer lag is a stall: a frame of speech lasts 80 ms, and a client may have 57 ms of audio.
STALL_S = 0.02
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STEAL_COLUMN = 8
_START_S = 10.0


class _Samples(msgspec.Struct):
    due_s: list[float]
    lag_s: list[float]


class MachineLag(msgspec.Struct, frozen=True, kw_only=True):
    """`stalls`: lags above 20 ms. `stolen_s`: CPU seconds that the hypervisor gave to other guests.

    None: not known. `underruns_in_stalls`: underruns that would not have occurred without these stalls.
    """

    lag_s: Distribution
    stalls: int
    stolen_s: float | None
    underruns_in_stalls: int = 0


@dataclass(frozen=True, slots=True)
class Stall:
    """The timer was due at `since_s` and ran at `until_s`, on the monotonic clock."""

    since_s: float
    until_s: float

    def overlap_s(self, since_s: float, until_s: float) -> float:
        return max(0.0, min(self.until_s, until_s) - max(self.since_s, since_s))


def caused_by_stalls(underrun: Underrun, stalls: Sequence[Stall]) -> bool:
    """Whether the machine stood still, while the client waited for the packet, for as long as it was late."""
    waited = (stall.overlap_s(underrun.waited_since_s, underrun.ended_s) for stall in stalls)
    return sum(waited) >= underrun.seconds


class MachineLagProbe:
    """Runs the timer loop while a `with` block runs, and blocks only at its two ends."""

    def __init__(self) -> None:
        self._distribution: Distribution | None = None
        self._stalls: tuple[Stall, ...] = ()
        self._stolen_s: float | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "antiphon_server.bench.measure.timer_loop"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C at a terminal ends the measurement, and only then the loop.
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        self._process.stdout.readline()
        self._stolen_before_s = _stolen_s()
        return self

    @property
    def process_id(self) -> int:
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        before_s, after_s = self._stolen_before_s, _stolen_s()
        self._stolen_s = None if before_s is None or after_s is None else after_s - before_s
        output, _errors = self._process.communicate()
        with suppress(msgspec.DecodeError):
            samples = msgspec.json.decode(output, type=_Samples)
            self._distribution = Distribution.of(samples.lag_s)
            pairs = zip(samples.due_s, samples.lag_s, strict=True)
            self._stalls = tuple(Stall(due, due + lag) for due, lag in pairs if lag > STALL_S)

    def summary(self, underruns: Sequence[Underrun]) -> MachineLag | None:
        """`underruns`: of all streams in the block. None if the loop has no sample."""
        if self._distribution is None:
            return None
        return MachineLag(
            lag_s=self._distribution,
            stalls=len(self._stalls),
            stolen_s=self._stolen_s,
            underruns_in_stalls=sum(caused_by_stalls(one, self._stalls) for one in underruns),
        )


def _stolen_s() -> float | None:
    try:
        columns = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        return int(columns[_STEAL_COLUMN]) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return None
