"""Warnings about events that clients can cause at any rate: one line per ten seconds at most, counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

_INTERVAL_S = 10.0


class RateLimitedLog:
    """Warnings of one kind. The first is written at once; later ones are counted in the next line."""

    def __init__(self, logger: str, message: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = logging.getLogger(logger)
        self._message = message
        self._clock = clock
        self._count = 0
        self._next_s = float("-inf")

    def warn(self, code: str) -> None:
        """`code`: one of our own error codes, never text from a client. The line carries the latest one."""
        self._count += 1
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _INTERVAL_S
        self._log.warning(self._message, extra={"fields": {"count": self._count, "last": code}})
        self._count = 0
