"""How one answer came along: which milestone it reached when, for operators who ask where the time goes.

In: notes of the request's own tasks, and of the engine. Out: one log line an answer. Where the setting
`logs.milestones` is off there is nothing to note in, and a note costs a look at a context variable.
"""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import Literal

from antiphon_executor.interface.request import EngineMark, MarkSink

ServerMilestone = Literal[
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


class Milestones:
    """Of one request, in milliseconds since its first byte. The first time counts."""

    def __init__(self, arrived_s: float) -> None:
        self._arrived_s = arrived_s
        self._ms: dict[str, float] = {}

    def note(self, milestone: ServerMilestone | EngineMark, at_s: float) -> None:
        """`at_s`: monotonic."""
        self._ms.setdefault(f"{milestone}_ms", round((at_s - self._arrived_s) * 1e3, 2))

    def write(self) -> None:
        """In the order in which they were reached."""
        fields = dict(sorted(self._ms.items(), key=lambda reached: reached[1]))
        _log.info("milestones", extra={"fields": fields})


current: ContextVar[Milestones | None] = ContextVar("milestones", default=None)


def note(milestone: ServerMilestone) -> None:
    """The request of this task reaches `milestone` now."""
    if (milestones := current.get()) is not None:
        milestones.note(milestone, time.monotonic())


def engine_note() -> MarkSink | None:
    """What the engine is to tell of the request of this task; None where nobody asks."""
    milestones = current.get()
    return None if milestones is None else milestones.note


def write_milestones() -> None:
    """The answer of this task has ended."""
    if (milestones := current.get()) is not None:
        milestones.note("ended", time.monotonic())
        milestones.write()
