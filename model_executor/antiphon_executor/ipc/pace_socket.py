"""The Talker scheduler's ends of two sockets: clients' cursors in, resting streams and step times out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import zmq

from antiphon_executor.ipc.message_decoder import MessageDecoder
from antiphon_executor.ipc.messages import ClientCursor, StepTimesTold, StreamsParked

TIMES_EVERY_S = 0.25
# Times that have not changed are sent again: the server takes older ones for stale.
TIMES_AGAIN_S = 5.0


class PaceSocket:
    """Owns the PULL socket that the bridge pushes cursors to, and a PUSH socket beside the frames'."""

    def __init__(self, cursors: str, frames: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._cursors: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._cursors.setsockopt(zmq.LINGER, 0)
        self._cursors.bind(cursors)
        self._told: zmq.Socket[bytes] = context.socket(zmq.PUSH)
        self._told.setsockopt(zmq.LINGER, 0)
        self._told.connect(frames)
        self._decoder = MessageDecoder("cursors", msgspec.msgpack.Decoder(ClientCursor))
        self._parked = 0
        self._times: StepTimesTold | None = None
        self._times_at_s = -TIMES_EVERY_S
        self._told_s = -TIMES_AGAIN_S

    def drain(self) -> Iterator[ClientCursor]:
        """All that has arrived; of streams that are not there any more, too.

        A cursor that cannot be read is made good by the next one.
        """
        while self._cursors.poll(0):
            cursor = self._decoder.decode(self._cursors.recv())
            if isinstance(cursor, ClientCursor):
                yield cursor

    def tell_parked(self, streams: int) -> None:
        if streams != self._parked:
            self._parked = streams
            self._told.send(msgspec.msgpack.encode(StreamsParked(streams)))

    def tell_times(self, now_s: float, times: Callable[[], StepTimesTold | None]) -> None:
        """At most every `TIMES_EVERY_S`, since they take time to work out; unchanged ones more rarely."""
        if now_s - self._times_at_s < TIMES_EVERY_S:
            return
        told = times()
        if told is None:
            return
        self._times_at_s = now_s
        if told != self._times or now_s - self._told_s >= TIMES_AGAIN_S:
            self._times, self._told_s = told, now_s
            self._told.send(msgspec.msgpack.encode(told))

    def close(self) -> None:
        self._cursors.close()
        self._told.close()
