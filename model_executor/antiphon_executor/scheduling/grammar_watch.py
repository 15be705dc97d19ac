"""Tracks schema compilations in an engine process, to find those that do not end.

vLLM cannot stop a compilation, and one that never ends blocks all later ones until the process restarts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


class Compilation(Protocol):
    """vLLM's `StructuredOutputRequest`."""

    @property
    def is_grammar_ready(self) -> bool: ...


class GrammarWatch:
    """Remembers compilations until they end, even if their request is gone. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._compiling: dict[str, tuple[Compilation, float]] = {}

    def begin(self, request_id: str, grammar: Compilation) -> None:
        self._compiling[request_id] = (grammar, self._clock())

    def oldest_s(self) -> float:
        """Age of the oldest compilation; 0 if there is none."""
        return max(self._ages().values(), default=0.0)

    def overdue(self, limit_s: float) -> set[str]:
        """Ids of the requests whose schema has been compiling for longer than `limit_s`."""
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


# Scheduler and worker of an engine share a process, so the worker's report reads it here.
GRAMMAR_WATCH = GrammarWatch()
