"""The Talker scheduler's ends of two sockets: clients' cursors in; paused streams and step times out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import zmq

from antiphon_executor.ipc.message_decoder import MessageDecoder
from antiphon_executor.ipc.messages import ClientCursor, StepTimesReport, StreamsPaused

TIMES_EVERY_S = 0.25
# Unchanged times are sent again, because the server treats old reports as out of date.
TIMES_AGAIN_S = 5.0


class PaceSocket:
    """Owns the PULL socket for cursors, and a second PUSH socket to the bridge's frames socket."""

    def __init__(self, cursors: str, frames: str) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._cursors: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._cursors.setsockopt(zmq.LINGER, 0)
        self._cursors.bind(cursors)
        self._reports: zmq.Socket[bytes] = context.socket(zmq.PUSH)
        self._reports.setsockopt(zmq.LINGER, 0)
        self._reports.connect(frames)
        self._decoder = MessageDecoder("cursors", msgspec.msgpack.Decoder(ClientCursor))
        self._paused = 0
        self._times: StepTimesReport | None = None
        self._times_at_s = -TIMES_EVERY_S
        self._reported_s = -TIMES_AGAIN_S

    def drain_cursors(self) -> Iterator[ClientCursor]:
        """All cursors that have arrived, including those of streams that have ended.

        A cursor that cannot be decoded is skipped; the next one replaces it.
        """
        while self._cursors.poll(0):
            cursor = self._decoder.decode(self._cursors.recv())
            if isinstance(cursor, ClientCursor):
                yield cursor

    def report_paused(self, streams: int) -> None:
        if streams != self._paused:
            self._paused = streams
            self._reports.send(msgspec.msgpack.encode(StreamsPaused(streams)))

    def report_step_times(self, now_s: float, times: Callable[[], StepTimesReport | None]) -> None:
        """Calls `times` at most every `TIMES_EVERY_S`; sends what has changed, or is `TIMES_AGAIN_S` old."""
        if now_s - self._times_at_s < TIMES_EVERY_S:
            return
        self.send_step_times(now_s, times())

    def send_step_times(self, now_s: float, report: StepTimesReport | None) -> None:
        """Sends what has changed, or is `TIMES_AGAIN_S` old, at once. None: nothing is measured yet."""
        if report is None:
            return
        self._times_at_s = now_s
        if report != self._times or now_s - self._reported_s >= TIMES_AGAIN_S:
            self._times, self._reported_s = report, now_s
            self._reports.send(msgspec.msgpack.encode(report))

    def close(self) -> None:
        self._cursors.close()
        self._reports.close()
