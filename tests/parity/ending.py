"""Ends the processes of engines at once: an orderly end takes seconds, and no parity test is about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children
from multiprocessing.process import BaseProcess


@dataclass
class EngineProcesses:
    """The processes that a block has started."""

    processes: set[BaseProcess] = field(default_factory=set)

    def kill(self) -> None:
        for process in self.processes:
            process.kill()


@contextmanager
def engine_processes() -> Iterator[EngineProcesses]:
    """Fills the value with the processes that are started in the block."""
    before = set(active_children())
    started = EngineProcesses()
    yield started
    started.processes = set(active_children()) - before
