"""The memory of a running server over time: the server with its decoders, and each engine."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

from tests.e2e.server_process import RunningServer

EVERY_S = 0.25
_ENGINES = "VLLM"


@dataclass(frozen=True)
class Sample:
    """`at_s`: since the watch began. Bytes of resident memory. `decoders`: processes.

    `decoded_cpu_s`: CPU time of all decoders that have ended since the server started.
    """

    at_s: float
    server: int
    engines: int
    decoders: int
    decoded_cpu_s: float


@dataclass
class MemoryWatch:
    """Samples memory in a thread while it is entered. The first sample is the idle server."""

    running: RunningServer
    samples: list[Sample] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _began_s: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Self:
        self.samples.append(self._sample())
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.samples.append(self._sample())

    @property
    def server_growth(self) -> int:
        """Bytes of the server and its decoders above idle, at the peak."""
        idle = self.samples[0].server
        return max(one.server for one in self.samples) - idle

    @property
    def engine_growth(self) -> int:
        return max(one.engines for one in self.samples) - self.samples[0].engines

    @property
    def decoded(self) -> bool:
        """Whether a decoder has run; a short one may live between two samples."""
        spent_s = self.samples[-1].decoded_cpu_s - self.samples[0].decoded_cpu_s
        return spent_s > 0 or any(one.decoders for one in self.samples)

    def _watch(self) -> None:
        while not self._done.wait(EVERY_S):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        server = engines = decoders = 0
        decoded_cpu_s = 0.0
        for process in self.running.tree():
            with contextlib.suppress(psutil.Error):
                resident = process.memory_info().rss
                name = " ".join(process.cmdline())
                if name.startswith(_ENGINES):
                    engines += resident
                else:
                    server += resident
                if "fork_server" in name and _is_worker(process):
                    decoders += 1
                elif "fork_server" in name:
                    spent = process.cpu_times()
                    decoded_cpu_s += spent.children_user + spent.children_system
        return Sample(time.monotonic() - self._began_s, server, engines, decoders, decoded_cpu_s)


def _is_worker(process: psutil.Process) -> bool:
    """A decoder has the fork server's command line, and the fork server as its parent."""
    return "fork_server" in " ".join(process.parent().cmdline())
