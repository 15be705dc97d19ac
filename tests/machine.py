"""How busy this machine is: limits on elapsed time grow with it, so that no test depends on other load."""

from __future__ import annotations

import time

_SAMPLE_S = 0.1


def slowness() -> float:
    """Elapsed time for each second of computing; 1.0 if nothing else runs on this core."""
    began, computed = time.perf_counter(), time.thread_time()
    while time.thread_time() - computed < _SAMPLE_S:
        pass
    return max(1.0, (time.perf_counter() - began) / _SAMPLE_S)


class Patience:
    """A limit in seconds. Once it is reached it is extended in proportion to how busy the machine is."""

    def __init__(self, limit_s: float) -> None:
        self._began_s = time.monotonic()
        self._limit_s = limit_s
        self._is_extended = False

    def is_over(self) -> bool:
        elapsed_s = time.monotonic() - self._began_s
        if elapsed_s > self._limit_s and not self._is_extended:
            self._limit_s *= slowness()
            self._is_extended = True
        return elapsed_s > self._limit_s
