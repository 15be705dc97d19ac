"""Reads a socket for as long as the server runs, and calls a receiver with each message, in order.

Messages that were sent together are parts of one. One that cannot be decoded, or whose receiver raises, is
dropped. An error of the socket ends the reading; `alive` is then False.
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
    """Owns a bound PULL socket. `deliver` gets each message, `lost` the owner of one that was dropped."""

    def __init__(
        self,
        socket: zmq.asyncio.Socket,
        decoder: MessageDecoder[M],
        deliver: Callable[[M], None],
        lost: Callable[[Unreadable], None],
        name: str,
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._deliver = deliver
        self._lost = lost
        self._task = asyncio.create_task(self._read(), name=name)
        self._task.add_done_callback(self._log_end)

    @property
    def alive(self) -> bool:
        return not self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._socket.close(linger=0)

    async def _read(self) -> None:
        while True:
            for packed in await self._socket.recv_multipart():
                self._receive(packed)

    def _receive(self, packed: bytes) -> None:
        message = self._decoder.decode(packed)
        try:
            if isinstance(message, Unreadable):
                self._lost(message)
            else:
                self._deliver(message)
        # The receiver belongs to one stream, which notices the missing message itself.
        except Exception as error:
            self._decoder.dropped.add(error)

    def _log_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("reading an engine's socket has ended", exc_info=error)
