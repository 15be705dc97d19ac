"""The sockets between the two engines and the server: text out, media rows and frames in.

In: `HiddenStates` of the Thinker's worker, `SpeechFrames` of the Talker's. Out: `SpokenText` to the Talker's
scheduler, rows and frames to the requests that wait for them. A message that cannot be read fails its own
request; a socket that is not read any more is its stage's death. Never looks into a tensor.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.ipc.message_decoder import MessageDecoder, Unreadable
from antiphon_executor.ipc.message_reader import MessageReader
from antiphon_executor.ipc.messages import (
    ClientCursor,
    HiddenStates,
    HiddenStatesFailed,
    SpeechFrames,
    SpokenText,
    StepTimesReport,
    StreamClosed,
    StreamFailed,
    StreamsPaused,
)

_CURSORS_AHEAD = 4_096
# A Talker that steps tells how long steps take every few seconds; what is older than this may hold no more.
FRESH_S = 60.0
_OfTalker = SpeechFrames | StreamFailed | StreamsPaused | StepTimesReport
_OfThinker = HiddenStates | HiddenStatesFailed


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
    """Owns the server's ends of the sockets; use as an async context."""

    def __init__(self, folder: SocketFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._context = zmq.asyncio.Context()
        self._text: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._pace: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._encoder = msgspec.msgpack.Encoder()
        self._frame_decoder = MessageDecoder("frames", msgspec.msgpack.Decoder(_OfTalker))
        self._row_decoder = MessageDecoder("rows", msgspec.msgpack.Decoder(_OfThinker))
        self._streams: dict[int, Callable[[SpeechFrames | StreamFailed], None]] = {}
        self._rows: dict[str, asyncio.Future[HiddenStates]] = {}
        self._numbers = itertools.count()
        self._readers: dict[str, MessageReader[Any]] = {}
        self.paused_streams = 0
        self._frame_time = FrameTime()
        self._frame_time_at_s = 0.0

    async def __aenter__(self) -> Bridge:
        try:
            self._open()
        except BaseException:
            await self._close()
            raise
        return self

    def _open(self) -> None:
        self._text.sndhwm = 0
        self._text.linger = 0
        self._text.connect(self._folder.text)
        self._pace.sndhwm = _CURSORS_AHEAD
        self._pace.linger = 0
        self._pace.connect(self._folder.pace)
        self._readers["talker"] = self._read_frames()
        self._readers["thinker"] = self._read_rows()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for reader in self._readers.values():
            await reader.close()
        self._text.close()
        self._pace.close()
        self._context.destroy(linger=0)

    @property
    def closed(self) -> bool:
        """Whether every socket is."""
        return self._text.closed and self._pace.closed and self._context.closed

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages could not be used, by the stage that sent them."""
        return {"talker": self._frame_decoder.dropped.count, "thinker": self._row_decoder.dropped.count}

    @property
    def frame_time(self) -> FrameTime:
        """How long the Talker's steps take, as it said last."""
        is_fresh = self._clock() - self._frame_time_at_s <= FRESH_S
        return self._frame_time if is_fresh else self._frame_time.with_halved_limit()

    def is_reading(self, stage: str) -> bool:
        """Whether what a stage sends is read: one that is not heard is as good as dead."""
        return self._readers[stage].alive

    async def resume_reading(self, stage: str) -> None:
        """Before a stage starts: reads its socket again, where that has ended."""
        if self.is_reading(stage):
            return
        await self._readers[stage].close()
        self._readers[stage] = self._read_frames() if stage == "talker" else self._read_rows()

    def open_stream(self, arrived: Callable[[SpeechFrames | StreamFailed], None]) -> int:
        """A number that no stream had before; `arrived` is called with each of its frames."""
        number = next(self._numbers)
        self._streams[number] = arrived
        return number

    def close_stream(self, number: int) -> None:
        """Frames of the stream that still arrive are dropped."""
        self._streams.pop(number, None)

    def discard_text(self, number: int) -> None:
        """Text of the stream that found no open slot is dropped. Nothing may be sent for it afterwards."""
        self._text.send(self._encoder.encode(StreamClosed(number)))

    def reset_talker_reports(self) -> None:
        """What it told of itself holds no more."""
        self.paused_streams = 0
        self._frame_time = FrameTime()

    def expect_hidden_states(self, request_id: str) -> asyncio.Future[HiddenStates]:
        """The media rows of a Thinker request, once its prefill is complete. Ask before it starts.

        Raises `RequestFailed` where they will not come.
        """
        future: asyncio.Future[HiddenStates] = asyncio.get_running_loop().create_future()
        self._rows[request_id] = future
        return future

    def discard_hidden_states(self, request_id: str) -> None:
        future = self._rows.pop(request_id, None)
        if future is not None and future.done() and not future.cancelled():
            # Else asyncio complains of an error that no request was left to hear.
            future.exception()

    def send_text(self, stream: int, token_ids: list[int], *, final: bool) -> None:
        """Never blocks: the socket has no high-water mark, and text is small."""
        self._text.send(self._encoder.encode(SpokenText(stream, token_ids, final)))

    def send_cursor(self, stream: int, samples: int) -> None:
        """Never blocks: where nobody takes cursors, as while the Talker restarts, they are worth nothing."""
        with suppress(zmq.Again):
            self._pace.send(self._encoder.encode(ClientCursor(stream, samples)), zmq.DONTWAIT)

    def _bound(self, address: str) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.PULL)
        socket.linger = 0
        socket.rcvhwm = 0
        socket.bind(address)
        return socket

    def _read_frames(self) -> MessageReader[_OfTalker]:
        socket = self._bound(self._folder.frames)
        return MessageReader(
            socket, self._frame_decoder, self._take_frames, self._lose_frames, "bridge-frames"
        )

    def _read_rows(self) -> MessageReader[_OfThinker]:
        socket = self._bound(self._folder.rows)
        return MessageReader(socket, self._row_decoder, self._take_rows, self._lose_rows, "bridge-rows")

    def _take_frames(self, told: _OfTalker) -> None:
        match told:
            case StreamsPaused():
                self.paused_streams = told.streams
            case StepTimesReport():
                self._frame_time = FrameTime(told.step_s, told.live_stream_limit, told.startup_buffer_s)
                self._frame_time_at_s = self._clock()
            case SpeechFrames(stream=stream) | StreamFailed(stream=stream) if stream in self._streams:
                self._streams[stream](told)

    def _lose_frames(self, lost: Unreadable) -> None:
        if lost.stream is not None and lost.stream in self._streams:
            self._streams[lost.stream](StreamFailed(lost.stream))

    def _take_rows(self, rows: _OfThinker) -> None:
        future = self._rows.get(rows.request_id)
        if future is None or future.done():
            return
        if isinstance(rows, HiddenStates):
            future.set_result(rows)
        else:
            future.set_exception(RequestFailed("what the model made of its media was lost"))

    def _lose_rows(self, lost: Unreadable) -> None:
        if lost.request_id is not None:
            self._take_rows(HiddenStatesFailed(lost.request_id))
