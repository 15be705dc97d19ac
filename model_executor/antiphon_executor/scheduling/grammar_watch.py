"""How long schemas have been compiled in an engine's process: one that never ends holds up all after it.

In: requests as they enter the scheduler. Out: the age of the oldest compilation, and requests that waited
too long. vLLM cannot stop a compilation; only a restart of the process can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Compiled(Protocol):
    """vLLM's `StructuredOutputRequest`."""

    @property
    def is_grammar_ready(self) -> bool: ...


class GrammarWatch:
    """Remembers compilations until they end, also those whose request has gone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._compiling: dict[str, tuple[Compiled, float]] = {}

    def begin(self, request_id: str, grammar: Compiled) -> None:
        self._compiling[request_id] = (grammar, self._clock())

    def oldest_s(self) -> float:
        """0 while nothing is compiled."""
        return max(self._ages().values(), default=0.0)

    def overdue(self, limit_s: float) -> set[str]:
        """Requests whose schema has been compiled for longer."""
        return {request_id for request_id, age_s in self._ages().items() if age_s > limit_s}

    def _ages(self) -> dict[str, float]:
        if not self._compiling:
            return {}
        self._compiling = {
            request_id: entry
            for request_id, entry in self._compiling.items()
            if not entry[0].is_grammar_ready
        }
        now = self._clock()
        return {request_id: now - began for request_id, (_, began) in self._compiling.items()}


# Scheduler and worker of an engine share a process.
GRAMMAR_WATCH = GrammarWatch()
