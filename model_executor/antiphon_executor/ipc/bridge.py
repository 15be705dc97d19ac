"""The server's ends of the sockets to both engines: text and cursors out, hidden states and frames in.

Each message goes to the request that waits for it. A message that cannot be decoded fails only its own
request; a socket that can no longer be read counts as the death of its stage.
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

_MAX_QUEUED_CURSORS = 4_096
# A running Talker reports its step times every few seconds; an older report may be out of date.
FRESH_S = 60.0
_OfTalker = SpeechFrames | StreamFailed | StreamsPaused | StepTimesReport
_OfThinker = HiddenStates | HiddenStatesFailed


class SocketFolder:
    """A private (0700) folder of unix sockets; `close` deletes it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="antiphon-"))
        self.text = f"ipc://{self.path / 'text'}"
        self.frames = f"ipc://{self.path / 'frames'}"
        self.hidden_states = f"ipc://{self.path / 'rows'}"
        self.pace = f"ipc://{self.path / 'pace'}"
        self.activity = self.path / "activity"

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Bridge:
    """Owns the server's ends of the sockets; an async context manager. `clock`: monotonic seconds."""

    def __init__(self, folder: SocketFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._context = zmq.asyncio.Context()
        self._text: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._pace: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
        self._encoder = msgspec.msgpack.Encoder()
        self._frame_decoder = MessageDecoder("frames", msgspec.msgpack.Decoder(_OfTalker))
        self._hidden_states_decoder = MessageDecoder("rows", msgspec.msgpack.Decoder(_OfThinker))
        self._streams: dict[int, Callable[[SpeechFrames | StreamFailed], None]] = {}
        self._expected: dict[str, asyncio.Future[HiddenStates]] = {}
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
        self._pace.sndhwm = _MAX_QUEUED_CURSORS
        self._pace.linger = 0
        self._pace.connect(self._folder.pace)
        self._readers["talker"] = self._read_frames()
        self._readers["thinker"] = self._read_hidden_states()

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
        """Whether every socket is closed."""
        return self._text.closed and self._pace.closed and self._context.closed

    @property
    def dropped(self) -> dict[str, int]:
        """Number of messages that could not be decoded or delivered, by the stage that sent them."""
        return {
            "talker": self._frame_decoder.dropped.count,
            "thinker": self._hidden_states_decoder.dropped.count,
        }

    @property
    def frame_time(self) -> FrameTime:
        """The Talker's last report of its step times; with half the limit of live streams if it is old."""
        is_fresh = self._clock() - self._frame_time_at_s <= FRESH_S
        return self._frame_time if is_fresh else self._frame_time.with_halved_limit()

    def is_reading(self, stage: str) -> bool:
        """Whether the stage's socket is still read; if not, the stage must be restarted."""
        return self._readers[stage].alive

    async def resume_reading(self, stage: str) -> None:
        """Called before a stage starts: reads its socket again if reading has ended."""
        if self.is_reading(stage):
            return
        await self._readers[stage].close()
        self._readers[stage] = self._read_frames() if stage == "talker" else self._read_hidden_states()

    def open_stream(self, arrived: Callable[[SpeechFrames | StreamFailed], None]) -> int:
        """Returns a new, unique stream number. `arrived` is called with each frame of the stream."""
        number = next(self._numbers)
        self._streams[number] = arrived
        return number

    def close_stream(self, number: int) -> None:
        """Frames of the stream that arrive later are dropped."""
        self._streams.pop(number, None)

    def discard_text(self, number: int) -> None:
        """Drops text of the stream that has not reached a slot. No text may be sent for it afterwards."""
        self._text.send(self._encoder.encode(StreamClosed(number)))

    def reset_talker_reports(self) -> None:
        """Forgets the Talker's reports, after its death."""
        self.paused_streams = 0
        self._frame_time = FrameTime()

    def expect_hidden_states(self, request_id: str) -> asyncio.Future[HiddenStates]:
        """Resolves to the request's multimodal hidden states when its prefill is complete.

        Must be called before the request starts. The future raises `RequestFailed` if they are lost.
        """
        future: asyncio.Future[HiddenStates] = asyncio.get_running_loop().create_future()
        self._expected[request_id] = future
        return future

    def discard_hidden_states(self, request_id: str) -> None:
        future = self._expected.pop(request_id, None)
        if future is not None and future.done() and not future.cancelled():
            # Without this, asyncio logs an error that no request is left to retrieve.
            future.exception()

    def send_text(self, stream: int, token_ids: list[int], *, final: bool) -> None:
        """Never blocks: the socket has no high-water mark, and text is small."""
        self._text.send(self._encoder.encode(SpokenText(stream, token_ids, final)))

    def send_cursor(self, stream: int, samples: int) -> None:
        """Never blocks: cursors that the Talker does not read, for example while it restarts, are dropped."""
        with suppress(zmq.Again):
            self._pace.send(self._encoder.encode(ClientCursor(stream, samples)), zmq.DONTWAIT)

    def _bind_pull_socket(self, address: str) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.PULL)
        socket.linger = 0
        socket.rcvhwm = 0
        socket.bind(address)
        return socket

    def _read_frames(self) -> MessageReader[_OfTalker]:
        socket = self._bind_pull_socket(self._folder.frames)
        return MessageReader(
            socket, self._frame_decoder, self._deliver_from_talker, self._fail_stream, "bridge-frames"
        )

    def _read_hidden_states(self) -> MessageReader[_OfThinker]:
        socket = self._bind_pull_socket(self._folder.hidden_states)
        return MessageReader(
            socket,
            self._hidden_states_decoder,
            self._deliver_hidden_states,
            self._fail_hidden_states,
            "bridge-rows",
        )

    def _deliver_from_talker(self, message: _OfTalker) -> None:
        match message:
            case StreamsPaused():
                self.paused_streams = message.streams
            case StepTimesReport():
                self._frame_time = FrameTime(
                    message.step_s, message.live_stream_limit, message.startup_buffer_s
                )
                self._frame_time_at_s = self._clock()
            case SpeechFrames(stream=stream) | StreamFailed(stream=stream) if stream in self._streams:
                self._streams[stream](message)

    def _fail_stream(self, lost: Unreadable) -> None:
        if lost.stream is not None and lost.stream in self._streams:
            self._streams[lost.stream](StreamFailed(lost.stream))

    def _deliver_hidden_states(self, message: _OfThinker) -> None:
        future = self._expected.get(message.request_id)
        if future is None or future.done():
            return
        if isinstance(message, HiddenStates):
            future.set_result(message)
        else:
            future.set_exception(RequestFailed("the hidden states of the request's media were lost"))

    def _fail_hidden_states(self, lost: Unreadable) -> None:
        if lost.request_id is not None:
            self._deliver_hidden_states(HiddenStatesFailed(lost.request_id))
