"""A socket that is read for as long as the server runs, and says when it no longer is.

In: messages of an engine's process. Out: calls, one a message, in their order. A message that cannot be read,
or whose receiver raises, is dropped; an error of the socket ends the reading, and `alive` says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import zmq.asyncio

from antiphon_executor.ipc.message_decoder import MessageDecoder, Unreadable

M = TypeVar("M")

_log = logging.getLogger("antiphon.engine")


class MessageReader(Generic[M]):
    """Owns a bound PULL socket. `take` gets each message, `lost` the owner of one that was dropped."""

    def __init__(
        self,
        socket: zmq.asyncio.Socket,
        decoder: MessageDecoder[M],
        take: Callable[[M], None],
        lost: Callable[[Unreadable], None],
        name: str,
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._take = take
        self._lost = lost
        self._task = asyncio.create_task(self._read(), name=name)
        self._task.add_done_callback(self._note_end)

    @property
    def alive(self) -> bool:
        return not self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close(linger=0)

    async def _read(self) -> None:
        while True:
            message = self._decoder.decode(await self._socket.recv())
            try:
                if isinstance(message, Unreadable):
                    self._lost(message)
                else:
                    self._take(message)
            # The receiver is one stream's. It misses a message, which it finds out by itself.
            except Exception as error:
                self._decoder.dropped.add(error)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a socket of an engine is read no more", exc_info=error)
