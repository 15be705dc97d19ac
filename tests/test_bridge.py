"""The bridge delivers frames to their streams and rows to their turns, and text to the Talker in time."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterator

import msgspec
import numpy as np
import pytest
import pytest_asyncio
import torch
import zmq
import zmq.asyncio

from antiphon_executor.bridge import Bridge, SocketFolder
from antiphon_executor.messages import MediaRows, Message, SpeechFrames
from antiphon_executor.talker.dual_track_streams import DualTrackStreams
from antiphon_executor.talker.sampling import StreamSampling
from antiphon_executor.talker.slots import SlotPool, SlotShape, StreamStart
from antiphon_executor.talker.text_inbox import TextInbox


@pytest.fixture
def folder() -> Iterator[SocketFolder]:
    sockets = SocketFolder()
    yield sockets
    sockets.close()
    assert not sockets.path.exists()


@pytest_asyncio.fixture
async def bridge(folder: SocketFolder) -> AsyncIterator[Bridge]:
    async with Bridge(folder) as running:
        yield running


async def send(address: str, *messages: Message) -> None:
    socket = zmq.asyncio.Context.instance().socket(zmq.PUSH)
    socket.connect(address)
    for message in messages:
        await socket.send(msgspec.msgpack.encode(message))
    await asyncio.sleep(0.05)
    socket.close(linger=0)


def frame(stream: int, index: int) -> SpeechFrames:
    return SpeechFrames(stream, index, b"", b"pcm", ended=False)


def rows(request_id: str) -> MediaRows:
    return MediaRows(request_id, b"", b"", b"", b"", 4, "float32")


async def test_the_folder_is_private(folder: SocketFolder) -> None:
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


async def test_given_frames_of_many_streams_then_each_gets_its_own_in_order(
    bridge: Bridge, folder: SocketFolder
) -> None:
    heard: dict[int, list[int]] = {}
    numbers = [
        bridge.open_stream(lambda one: heard.setdefault(one.stream, []).append(one.frame)) for _ in range(3)
    ]
    await send(folder.frames, *(frame(number, index) for index in range(4) for number in numbers))
    assert heard == {number: [0, 1, 2, 3] for number in numbers}
    assert len(set(numbers)) == 3


async def test_given_a_closed_stream_then_its_late_frames_are_dropped(
    bridge: Bridge, folder: SocketFolder
) -> None:
    heard: list[SpeechFrames] = []
    number = bridge.open_stream(heard.append)
    bridge.close_stream(number)
    await send(folder.frames, frame(number, 0))
    assert heard == []


async def test_given_rows_then_who_expects_them_gets_them_and_nobody_else(
    bridge: Bridge, folder: SocketFolder
) -> None:
    expected, forgotten = bridge.expect_rows("one"), bridge.expect_rows("two")
    bridge.forget_rows("two")
    await send(folder.rows, rows("two"), rows("unknown"), rows("one"))
    assert (await asyncio.wait_for(expected, 1)).request_id == "one"
    assert not forgotten.done()


class Talker:
    """The scheduler's end of the text socket, with a pool of real slots."""

    def __init__(self, folder: SocketFolder) -> None:
        self.inbox = TextInbox(folder.text)
        pool = SlotPool(
            SlotShape(4, 8, 2, 16, 4, 64),
            dtype=torch.float32,
            device=torch.device("cpu"),
            reset_vocoder=lambda slots: None,
        )
        self.streams = DualTrackStreams(pool, tts_pad=99, thinker_hidden=4, project_media=lambda given: given)

    def open(self, stream: int, slot: int) -> None:
        positions = np.zeros((3, 2), np.int32).tobytes()
        sampling = StreamSampling(seed=1)
        start = StreamStart(stream, slot, positions, 0, b"", "float32", [5], False, sampling)
        self.streams.open(msgspec.msgpack.encode(start))

    def drain(self) -> None:
        self.inbox.wait(200)
        self.inbox.drain(self.streams)


@pytest.fixture
def talker(folder: SocketFolder) -> Iterator[Talker]:
    scheduler = Talker(folder)
    yield scheduler
    scheduler.inbox.close()


async def test_given_text_then_it_reaches_the_stream_that_is_open(bridge: Bridge, talker: Talker) -> None:
    number = bridge.open_stream(lambda one: None)
    talker.open(number, slot=1)
    bridge.send_text(number, [6, 7], final=False)
    talker.drain()
    assert talker.streams.track[1, :4].tolist() == [5, 6, 7, 99]


async def test_given_text_that_overtakes_its_request_then_it_waits_for_the_slot(
    bridge: Bridge, talker: Talker
) -> None:
    number = bridge.open_stream(lambda one: None)
    bridge.send_text(number, [6], final=False)
    bridge.send_text(number, [7], final=True)
    talker.drain()
    talker.open(number, slot=2)
    talker.drain()
    assert talker.streams.track[2, :4].tolist() == [5, 6, 7, 99]
    assert talker.streams.ready(2, 7)


async def test_given_a_stream_that_is_gone_then_its_text_is_forgotten(bridge: Bridge, talker: Talker) -> None:
    number = bridge.open_stream(lambda one: None)
    bridge.send_text(number, [6], final=False)
    bridge.forget_text(number)
    talker.drain()
    talker.open(number, slot=2)
    talker.drain()
    assert talker.streams.track[2, :2].tolist() == [5, 99]
