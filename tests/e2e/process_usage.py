"""Memory and CPU time of a running server over time: the server's process, its decoders, its engines."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Literal, Self

import psutil  # type: ignore[import-untyped]

from tests.e2e.server_process import RunningServer

EVERY_S = 0.25
Role = Literal["server", "decoders", "engine"]
ROLES: tuple[Role, ...] = ("server", "decoders", "engine")


@dataclass(frozen=True)
class Usage:
    """`at_s`: since the watch began. `decoders`: how many run. `decoded_cpu_s`: of those that have ended.

    `cache`: the share of the Thinker's KV cache that requests hold; None if it was not read.
    """

    at_s: float
    memory: dict[Role, int]
    cpu_s: dict[Role, float]
    decoders: int
    decoded_cpu_s: float
    cache: float | None = None


@dataclass
class UsageWatch:
    """Samples in a thread while it is entered. The first sample is the idle server."""

    running: RunningServer
    samples: list[Usage] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _began_s: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Self:
        self.samples.append(self.sample())
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.samples.append(self.sample())

    def growth(self, *roles: Role) -> int:
        """Bytes of these processes together above idle, at the peak."""
        sums = [sum(one.memory[role] for role in roles) for one in self.samples]
        return max(sums) - sums[0]

    def cpu_s(self, role: Role) -> float:
        return self.samples[-1].cpu_s[role] - self.samples[0].cpu_s[role]

    @property
    def decoded(self) -> bool:
        return self.decoded_until_s is not None

    @property
    def decoded_until_s(self) -> float | None:
        """When the last decoder was seen, or what it had computed, as it may live between two samples."""
        return max(
            (later.at_s for one, later in pairwise(self.samples) if has_decoded(one, later)), default=None
        )

    def sample(self) -> Usage:
        at_s = time.monotonic() - self._began_s
        memory, cpu_s = dict.fromkeys(ROLES, 0), dict.fromkeys(ROLES, 0.0)
        decoders, decoded_cpu_s = 0, 0.0
        for process in self.running.tree():
            with contextlib.suppress(psutil.Error):
                role, is_worker = _role_of(process)
                # A decoder shares most of its memory with the process that it was forked from.
                memory[role] += process.memory_full_info().uss if is_worker else process.memory_info().rss
                spent = process.cpu_times()
                cpu_s[role] += spent.user + spent.system
                decoders += is_worker
                if role == "decoders" and not is_worker:
                    decoded_cpu_s += spent.children_user + spent.children_system
        cpu_s["decoders"] += decoded_cpu_s
        return Usage(at_s, memory, cpu_s, decoders, decoded_cpu_s)

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.samples.append(self.sample())


def has_decoded(one: Usage, later: Usage) -> bool:
    return later.decoders > 0 or later.decoded_cpu_s > one.decoded_cpu_s


def decoders_of(running: RunningServer) -> int:
    """How many decoders run now."""
    count = 0
    for process in running.tree():
        with contextlib.suppress(psutil.Error):
            count += _role_of(process)[1]
    return count


def _role_of(process: psutil.Process) -> tuple[Role, bool]:
    """Its role, and whether it is a decoder: a child of the process that forks them."""
    line = " ".join(process.cmdline())
    if line.startswith("VLLM"):
        return "engine", False
    if "fork_server" not in line:
        return "server", False
    return "decoders", "fork_server" in " ".join(process.parent().cmdline())
