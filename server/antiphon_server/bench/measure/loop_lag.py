"""Probe of the event loop's lag: how late this process runs its own timers.

The lag limits the precision of all times that the benchmark measures.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

from antiphon_server.bench.measure.machine_lag import STALL_S
from antiphon_server.bench.measure.percentiles import Distribution

_INTERVAL_S = 0.01


class LoopLagProbe:
    """Samples the lag while an `async with` block runs; read it with `lag()` afterwards."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._sample_lag())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def lag(self) -> Distribution | None:
        """Lag in seconds, sampled every 10 ms; None if the block ended before the first sample."""
        return Distribution.of(self._lags_s)

    @property
    def stalls(self) -> int:
        """The number of lags above 20 ms."""
        return sum(lag > STALL_S for lag in self._lags_s)

    async def _sample_lag(self) -> None:
        while True:
            due = time.monotonic() + _INTERVAL_S
            await asyncio.sleep(_INTERVAL_S)
            self._lags_s.append(max(0.0, time.monotonic() - due))
