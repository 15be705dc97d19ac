"""Events of a long prompt's progress, as the engine's answers to pings report it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import PromptProgress

# The engine is pinged as often.
LOOK_EVERY_S = 1.0

PrefillOf = Callable[[str], tuple[int, int] | None]


def no_prefill(request_id: str) -> tuple[int, int] | None:
    """A `PrefillOf` that knows of none."""
    return None


@asynccontextmanager
async def prefill_progress(
    request_id: str, prefill_of: PrefillOf, events: EventStream
) -> AsyncIterator[None]:
    """Puts a `PromptProgress` whenever more of the prompt has been read, until the block ends."""
    looking = asyncio.create_task(_look(request_id, prefill_of, events))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _look(request_id: str, prefill_of: PrefillOf, events: EventStream) -> None:
    last = 0
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        found = prefill_of(request_id)
        if found is not None and found[0] > last:
            last = found[0]
            await events.put(PromptProgress(*found))
