"""The sockets between the two engines and the server: text out, media rows and frames in.

In: `MediaRows` of the Thinker's worker, `SpeechFrames` of the Talker's. Out: `SpokenText` to the Talker's
scheduler, rows by request and frames by stream to whoever waits for them. Never looks into a tensor.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec
import zmq
import zmq.asyncio

from antiphon_executor.capacity import FrameTime
from antiphon_executor.messages import (
    ClientCursor,
    MediaRows,
    SpeechFrames,
    SpokenText,
    StepTimesTold,
    StreamGone,
    StreamsParked,
)

_CURSORS_AHEAD = 4_096


class SocketFolder:
    """A private (0700) folder of unix sockets; gone when closed."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="antiphon-"))
        self.text = f"ipc://{self.path / 'text'}"
        self.frames = f"ipc://{self.path / 'frames'}"
        self.rows = f"ipc://{self.path / 'rows'}"
        self.pace = f"ipc://{self.path / 'pace'}"

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Bridge:
    """Owns the server's ends of the three sockets; use as an async context."""

    def __init__(self, folder: SocketFolder) -> None:
        self._folder = folder
        self._context = zmq.asyncio.Context()
        self._text: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._pace: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._encoder = msgspec.msgpack.Encoder()
        self._streams: dict[int, Callable[[SpeechFrames], None]] = {}
        self._rows: dict[str, asyncio.Future[MediaRows]] = {}
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self.parked = 0
        self.frame_time = FrameTime()

    async def __aenter__(self) -> Bridge:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def _open(self) -> None:
        self._text.sndhwm = 0
        self._text.linger = 0
        self._text.connect(self._folder.text)
        self._pace.sndhwm = _CURSORS_AHEAD
        self._pace.linger = 0
        self._pace.connect(self._folder.pace)
        frames = self._socket(zmq.PULL)
        frames.bind(self._folder.frames)
        rows = self._socket(zmq.PULL)
        rows.bind(self._folder.rows)
        self._tasks = [
            asyncio.create_task(self._read_frames(frames), name="bridge-frames"),
            asyncio.create_task(self._read_rows(rows), name="bridge-rows"),
        ]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close()

    def _close(self) -> None:
        self._text.close()
        self._pace.close()
        self._context.destroy(linger=0)

    @property
    def closed(self) -> bool:
        """Whether every socket is."""
        return self._text.closed and self._pace.closed and self._context.closed

    def open_stream(self, arrived: Callable[[SpeechFrames], None]) -> int:
        """A number that no stream had before; `arrived` is called with each of its frames."""
        number = next(self._numbers)
        self._streams[number] = arrived
        return number

    def close_stream(self, number: int) -> None:
        """Frames of the stream that still arrive are dropped."""
        self._streams.pop(number, None)

    def forget_text(self, number: int) -> None:
        """Text of the stream that found no open slot is dropped. Nothing may be sent for it afterwards."""
        self._text.send(self._encoder.encode(StreamGone(number)))

    def talker_died(self) -> None:
        """What it told of itself holds no more."""
        self.parked = 0
        self.frame_time = FrameTime()

    def expect_rows(self, request_id: str) -> asyncio.Future[MediaRows]:
        """The media rows of a Thinker request, once its prefill is complete. Ask before it starts."""
        future: asyncio.Future[MediaRows] = asyncio.get_running_loop().create_future()
        self._rows[request_id] = future
        return future

    def forget_rows(self, request_id: str) -> None:
        self._rows.pop(request_id, None)

    def send_text(self, stream: int, token_ids: list[int], *, final: bool) -> None:
        """Never blocks: the socket has no high-water mark, and text is small."""
        self._text.send(self._encoder.encode(SpokenText(stream, token_ids, final)))

    def send_cursor(self, stream: int, samples: int) -> None:
        """Never blocks: where nobody takes cursors, as while the Talker restarts, they are worth nothing."""
        with suppress(zmq.Again):
            self._pace.send(self._encoder.encode(ClientCursor(stream, samples)), zmq.DONTWAIT)

    def _socket(self, kind: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0
        return socket

    async def _read_frames(self, socket: zmq.asyncio.Socket) -> None:
        decoder = msgspec.msgpack.Decoder(SpeechFrames | StreamsParked | StepTimesTold)
        while True:
            told = decoder.decode(await socket.recv())
            match told:
                case StreamsParked():
                    self.parked = told.streams
                case StepTimesTold():
                    self.frame_time = FrameTime(told.step_s, told.live_streams, told.opening_s)
                case SpeechFrames(stream=stream) if stream in self._streams:
                    self._streams[stream](told)

    async def _read_rows(self, socket: zmq.asyncio.Socket) -> None:
        decoder = msgspec.msgpack.Decoder(MediaRows)
        while True:
            rows = decoder.decode(await socket.recv())
            future = self._rows.pop(rows.request_id, None)
            if future is not None and not future.done():
                future.set_result(rows)
