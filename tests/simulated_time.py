"""Asynchronous tests on a simulated clock: waiting takes no time, and every delay is exact.

Sockets work as usual, since both ends live in the same loop. Work for a thread is done in the loop at once,
because the clock does not wait for threads. Child processes do not take part.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while anything is ready, then jumps to the next timer."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def sleep(self, seconds: float) -> None:
        """In place of `time.sleep`."""
        self.now_s += seconds


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0 if timeout is not None else None)
        if not events and timeout:
            self._loop.now_s += timeout
        return events


def on_simulated_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Makes an asynchronous test a synchronous one that runs in a `SimulatedLoop`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner, pytest.MonkeyPatch.context() as patch:
            loop = runner.get_loop()
            assert isinstance(loop, SimulatedLoop)
            patch.setattr(time, "monotonic", loop.time)
            patch.setattr(time, "sleep", loop.sleep)
            runner.run(test(*args, **kwargs))  # type: ignore[arg-type]

    return run
