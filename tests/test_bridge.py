"""The bridge delivers frames to their streams, hidden states to their requests, and text to the Talker."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec
import numpy as np
import pytest
import pytest_asyncio
import torch
import zmq
import zmq.asyncio

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.messages import (
    HiddenStates,
    HiddenStatesFailed,
    Message,
    SpeechFrames,
    StreamFailed,
)
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import SlotPool, SlotShape, StreamStart
from antiphon_executor.scheduling.text_inbox import TextInbox


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


async def send(address: str, *messages: Message | bytes) -> None:
    socket = zmq.asyncio.Context.instance().socket(zmq.PUSH)
    socket.connect(address)
    for message in messages:
        await socket.send(message if isinstance(message, bytes) else msgspec.msgpack.encode(message))
    socket.close(linger=60_000)


async def becomes(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing here tells
            await asyncio.sleep(0.005)


def frame(stream: int, index: int) -> SpeechFrames:
    return SpeechFrames(stream, index, b"", b"pcm", ended=False)


def rows(request_id: str) -> HiddenStates:
    return HiddenStates(request_id, b"", b"", b"", b"", 4, "float32")


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
    await becomes(lambda: sum(map(len, heard.values())) == 12)
    assert heard == {number: [0, 1, 2, 3] for number in numbers}
    assert len(set(numbers)) == 3


async def test_given_a_closed_stream_then_its_late_frames_are_dropped(
    bridge: Bridge, folder: SocketFolder
) -> None:
    heard: list[SpeechFrames | StreamFailed] = []
    number, other = bridge.open_stream(heard.append), bridge.open_stream(heard.append)
    bridge.close_stream(number)
    await send(folder.frames, frame(number, 0), frame(other, 0))
    await becomes(lambda: heard)
    assert heard == [frame(other, 0)]


async def test_given_hidden_states_then_only_their_own_request_gets_them(
    bridge: Bridge, folder: SocketFolder
) -> None:
    expected, forgotten = bridge.expect_hidden_states("one"), bridge.expect_hidden_states("two")
    bridge.discard_hidden_states("two")
    await send(folder.hidden_states, rows("two"), rows("unknown"), rows("one"))
    assert (await asyncio.wait_for(expected, 60)).request_id == "one"
    assert not forgotten.done()


class Talker:
    """The scheduler's end of the text socket, with a pool of real slots."""

    def __init__(self, folder: SocketFolder) -> None:
        self.inbox = TextInbox(folder.text)
        self.failed: list[int] = []
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
        self.inbox.wait_for_text(200)
        self.inbox.drain_text(self.streams, self.failed.append)

    async def until(self, condition: Callable[[], object]) -> None:
        """Drains until `condition` holds."""

        def drained() -> object:
            self.drain()
            return condition()

        await becomes(drained)


@pytest.fixture
def talker(folder: SocketFolder) -> Iterator[Talker]:
    scheduler = Talker(folder)
    yield scheduler
    scheduler.inbox.close()


async def test_given_text_then_it_reaches_the_stream_that_is_open(bridge: Bridge, talker: Talker) -> None:
    number = bridge.open_stream(lambda one: None)
    talker.open(number, slot=1)
    bridge.send_text(number, [6, 7], final=False)
    await talker.until(lambda: talker.streams.track[1, :4].tolist() == [5, 6, 7, 99])


async def test_given_text_that_overtakes_its_request_then_it_waits_for_the_slot(
    bridge: Bridge, talker: Talker
) -> None:
    number = bridge.open_stream(lambda one: None)
    bridge.send_text(number, [6], final=False)
    bridge.send_text(number, [7], final=True)
    talker.drain()
    talker.open(number, slot=2)
    await talker.until(lambda: talker.streams.is_ready(2, 7))
    assert talker.streams.track[2, :4].tolist() == [5, 6, 7, 99]


async def test_given_a_closed_stream_then_its_text_is_discarded(bridge: Bridge, talker: Talker) -> None:
    number = bridge.open_stream(lambda one: None)
    bridge.send_text(number, [6], final=False)
    bridge.discard_text(number)
    talker.drain()
    talker.open(number, slot=2)
    talker.drain()
    assert talker.streams.track[2, :2].tolist() == [5, 99]


GARBAGE = (
    b"",
    b"\xc1",
    b"\xff" * 40,
    msgspec.msgpack.encode([1, 2]),
    msgspec.msgpack.encode({"type": "Other"}),
)


def wrong(kind: str, **fields: object) -> bytes:
    """A message of that kind with some of its fields, and one of them of another type."""
    return msgspec.msgpack.encode({"type": kind, "frame": "first", "token_ids": 7, "rows": 1.5} | fields)


async def test_given_unreadable_messages_then_only_their_streams_fail(
    bridge: Bridge, folder: SocketFolder
) -> None:
    """One of them once ended the reading for good, without a word."""
    heard: dict[int, list[SpeechFrames | StreamFailed]] = {}
    numbers = [bridge.open_stream(lambda one: heard.setdefault(one.stream, []).append(one)) for _ in range(2)]
    bad = [*GARBAGE, wrong("SpeechFrames", stream=numbers[0]), wrong("SpeechFrames", stream=99)]
    await send(folder.frames, *bad, frame(numbers[1], 0))
    await becomes(lambda: numbers[1] in heard)
    assert heard == {numbers[0]: [StreamFailed(numbers[0])], numbers[1]: [frame(numbers[1], 0)]}
    assert bridge.dropped == {"talker": len(bad), "thinker": 0}
    assert bridge.is_reading("talker")


async def test_given_frames_that_were_sent_together_then_an_unreadable_one_fails_its_stream_alone(
    bridge: Bridge, folder: SocketFolder
) -> None:
    heard: asyncio.Queue[SpeechFrames | StreamFailed] = asyncio.Queue()
    first, broken, third = (bridge.open_stream(heard.put_nowait) for _ in range(3))
    parts = [
        msgspec.msgpack.encode(frame(first, 0)),
        wrong("SpeechFrames", stream=broken),
        msgspec.msgpack.encode(frame(third, 0)),
    ]
    socket = zmq.asyncio.Context.instance().socket(zmq.PUSH)
    socket.connect(folder.frames)
    await socket.send_multipart(parts)
    arrived = [await asyncio.wait_for(heard.get(), 60) for _ in parts]
    socket.close(linger=0)
    assert arrived == [frame(first, 0), StreamFailed(broken), frame(third, 0)]
    assert bridge.dropped["talker"] == 1


async def test_given_hidden_states_that_cannot_be_read_or_sent_then_only_their_requests_fail(
    bridge: Bridge, folder: SocketFolder
) -> None:
    unreadable, unsent, whole = (
        bridge.expect_hidden_states(name) for name in ("unreadable", "unsent", "whole")
    )
    bad = [*GARBAGE, wrong("HiddenStates", request_id="unreadable")]
    await send(folder.hidden_states, *bad, HiddenStatesFailed("unsent"), rows("whole"))
    for lost in (unreadable, unsent):
        with pytest.raises(RequestFailed):
            await asyncio.wait_for(lost, 60)
    assert (await asyncio.wait_for(whole, 60)).request_id == "whole"
    assert bridge.dropped == {"talker": 0, "thinker": len(bad)}


async def test_given_a_receiver_that_raises_then_reading_continues(
    bridge: Bridge, folder: SocketFolder
) -> None:
    heard: list[SpeechFrames | StreamFailed] = []

    def raises(one: SpeechFrames | StreamFailed) -> None:
        raise LookupError("there is no receiver")

    broken, other = bridge.open_stream(raises), bridge.open_stream(heard.append)
    await send(folder.frames, frame(broken, 0), frame(other, 0))
    await becomes(lambda: heard)
    assert heard == [frame(other, 0)]
    assert bridge.dropped["talker"] == 1


@pytest.mark.parametrize("stage", ["talker", "thinker"])
async def test_given_a_socket_that_fails_then_its_stage_is_not_read_until_it_restarts(
    bridge: Bridge, folder: SocketFolder, stage: str
) -> None:
    heard: list[SpeechFrames | StreamFailed] = []
    number, expected = bridge.open_stream(heard.append), bridge.expect_hidden_states("one")
    await asyncio.sleep(0)
    bridge._readers[stage]._socket.close(linger=0)
    await becomes(lambda: not bridge.is_reading(stage))
    assert bridge.is_reading("thinker" if stage == "talker" else "talker")
    await bridge.resume_reading(stage)
    assert bridge.is_reading(stage)
    await send(folder.frames, frame(number, 0))
    await send(folder.hidden_states, rows("one"))
    await becomes(lambda: heard)
    assert heard == [frame(number, 0)]
    assert (await asyncio.wait_for(expected, 60)).request_id == "one"


async def test_given_text_that_cannot_be_read_or_added_then_only_its_stream_fails(
    bridge: Bridge, talker: Talker, folder: SocketFolder
) -> None:
    """It once ended the Talker's process."""
    good, huge, torn = (bridge.open_stream(lambda one: None) for _ in range(3))
    for slot, number in enumerate((good, huge, torn), 1):
        talker.open(number, slot=slot)
    await send(folder.text, *GARBAGE, wrong("SpokenText", stream=torn))
    await talker.until(lambda: torn in talker.failed)
    bridge.send_text(huge, [1 << 63], final=False)
    bridge.send_text(good, [6, 7], final=True)
    await talker.until(lambda: talker.streams.track[1, :4].tolist() == [5, 6, 7, 99])
    assert talker.failed == [torn, huge]
