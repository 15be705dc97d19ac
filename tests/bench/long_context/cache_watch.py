"""A server's memory and CPU time, and the share of its Thinker's cache that requests hold."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx
from tests.e2e.process_usage import Usage, UsageWatch
from tests.e2e.server_process import engine_metric

_CACHE_EVERY_S = 1.0


@dataclass
class CacheWatch(UsageWatch):
    """Reads the metrics once a second."""

    _read_s: float = 0.0

    def sample(self) -> Usage:
        usage = super().sample()
        if usage.at_s - self._read_s < _CACHE_EVERY_S:
            return usage
        self._read_s = usage.at_s
        with contextlib.suppress(httpx.HTTPError):
            share = self.running.metrics().get(engine_metric("kv_cache_usage_perc", "thinker"))
            return replace(usage, cache=share)
        return usage


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
