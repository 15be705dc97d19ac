"""Waits for the way out: for the first of several things, and for one thing with a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any

_log = logging.getLogger("antiphon.serve")


async def wait_for_first(*waits: asyncio.Future[Any] | Coroutine[Any, Any, Any]) -> None:
    """Return when one of them is done. Coroutines are cancelled then; tasks and futures continue."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for wait, task in zip(waits, tasks, strict=True):
        if wait is not task:
            task.cancel()


async def wait_at_most(limit_s: float, wait: Awaitable[Any]) -> None:
    """Wait for a part to stop. A timeout or an error of the part is logged, not raised."""
    try:
        async with asyncio.timeout(limit_s):
            await wait
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
    except TimeoutError:
        _log.warning("a part did not stop in time")
    except Exception:
        _log.exception("a part did not stop cleanly")
