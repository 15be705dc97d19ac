"""A request that waits for its slot while its client already waits for the response."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, TypeVar

from antiphon_server.http.streaming.sse import KEEP_ALIVE, SseResponse

R = TypeVar("R")


class StartingRequest(Generic[R]):
    """Enters a request. Meanwhile the client gets headers at `headers_at_s`, then, every `silence_s`, what
    `write_waiting` writes.
    """

    def __init__(
        self,
        request: AbstractAsyncContextManager[R],
        sse: SseResponse,
        headers_at_s: float,
        silence_s: float,
        write_waiting: Callable[[], bytes] = lambda: KEEP_ALIVE,
    ) -> None:
        self._request = request
        self._sse = sse
        self._headers_at_s = headers_at_s
        self._silence_s = silence_s
        self._write_waiting = write_waiting

    async def __aenter__(self) -> R:
        entering = asyncio.ensure_future(self._request.__aenter__())
        try:
            await self._wait_for(entering)
        except BaseException as error:
            entering.cancel()
            await asyncio.gather(entering, return_exceptions=True)
            if not entering.cancelled() and entering.exception() is None:
                await self._request.__aexit__(type(error), error, error.__traceback__)
            raise
        return entering.result()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._request.__aexit__(kind, error, trace)

    async def _wait_for(self, entering: asyncio.Future[R]) -> None:
        while not entering.done():
            sse = self._sse
            limit_s = self._silence_s if sse.started else max(self._headers_at_s - time.monotonic(), 0.0)
            await asyncio.wait({entering}, timeout=limit_s)
            if entering.done():
                return
            if sse.started:
                await sse.send_data(self._write_waiting())
            else:
                await sse.start_response()
