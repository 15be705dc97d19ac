"""Request traces: when one request reached each stage, as one log line for operators who ask where time goes.

Without the setting `logs.milestones`, a trace is kept only for a request that asks for its times. Otherwise a
mark costs one look-up of a context variable.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import Literal

from antiphon_executor.interface.request import EngineMark, MarkSink

ServerMark = Literal[
    "body_read",
    "planned",
    "admitted",
    "rendered",
    "started",
    "first_text",
    "first_sound",
    "first_packet",
    "ended",
]

_log = logging.getLogger("antiphon.milestones")


class RequestTrace:
    """The marks of one request, in milliseconds since its first byte. Only the first of each name counts."""

    def __init__(self, arrived_s: float) -> None:
        self._arrived_s = arrived_s
        self._ms: dict[str, float] = {}

    def mark(self, name: ServerMark | EngineMark, at_s: float) -> None:
        """`at_s`: monotonic clock."""
        self._ms.setdefault(f"{name}_ms", round((at_s - self._arrived_s) * 1e3, 2))

    def read(self) -> dict[str, float]:
        """All marks, sorted by time."""
        return dict(sorted(self._ms.items(), key=lambda mark: mark[1]))

    def log(self) -> None:
        """Write all marks in one line."""
        _log.info("milestones", extra={"fields": self.read()})


class UnloggedTrace(RequestTrace):
    """The marks of a request that are for its client alone."""

    def log(self) -> None:
        return


current: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)


def mark(name: ServerMark) -> None:
    """Record that this task's request has reached `name` now."""
    if (trace := current.get()) is not None:
        trace.mark(name, time.monotonic())


def engine_marker() -> MarkSink | None:
    """The callback through which the engine adds its own marks, or None if traces are off."""
    trace = current.get()
    return None if trace is None else trace.mark


def log_trace() -> None:
    """Mark the end of this task's request and log its trace."""
    if (trace := current.get()) is not None:
        trace.mark("ended", time.monotonic())
        trace.log()
