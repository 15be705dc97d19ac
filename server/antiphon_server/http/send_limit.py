"""Time limit on each send of one response, for clients that stop reading."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class ClientStalled(OSError):
    """The client does not read its response. ASGI expects an OSError, as for a disconnect."""


class SendLimit:
    """Like `asyncio.timeout` around each send, but one timer serves all sends that end early.

    For one send at a time. `expired`: a send took longer than `limit_s`.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[object] | None = None
        self._due_s = 0.0
        self._is_due = False
        self.expired = False

    async def wait_for(self, sending: Awaitable[None]) -> None:
        """Raises ClientStalled if `sending` takes too long."""
        loop = asyncio.get_running_loop()
        sender = asyncio.current_task(loop)
        self._sender, self._due_s = sender, loop.time() + self._limit_s
        if self._timer is None:
            self._timer = loop.call_at(self._due_s, self._check)
        cancelling = sender.cancelling() if sender is not None else 0
        try:
            await sending
        except asyncio.CancelledError:
            # As `asyncio.timeout`: a cancellation from elsewhere goes on.
            if self._is_due and sender is not None and sender.uncancel() <= cancelling:
                self.expired = True
                raise ClientStalled from None
            raise
        finally:
            self._sender = None

    def close(self) -> None:
        """No send follows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._sender is None:
            return
        loop = self._sender.get_loop()
        if loop.time() < self._due_s:
            self._timer = loop.call_at(self._due_s, self._check)
        else:
            self._is_due = True
            self._sender.cancel()
