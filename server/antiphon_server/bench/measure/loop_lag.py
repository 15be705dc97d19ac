"""How late this process runs its own timers: what it measures of others cannot be finer than that.

In: nothing. Out: the lag of the event loop while the block ran.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Self

from antiphon_server.bench.measure.percentiles import Distribution

_BEAT_S = 0.01


class LoopLagProbe:
    """`async with LoopLagProbe() as pulse`, then `pulse.lag()`."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def lag(self) -> Distribution | None:
        """In seconds, a sample every 10 ms; None of a run shorter than that."""
        return Distribution.of(self._lags_s)

    async def _beat(self) -> None:
        while True:
            due = time.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._lags_s.append(max(0.0, time.monotonic() - due))
