"""Frames are sent unchanged; a frame that cannot be sent fails its own stream only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch
import zmq

from antiphon_executor.ipc.frame_sender import FrameSender, StepFrames
from antiphon_executor.ipc.messages import SpeechFrames, StreamFailed

Heard = SpeechFrames | StreamFailed


class Pair:
    """A sender, and the bridge's end of its socket."""

    def __init__(self, folder: Path) -> None:
        self._socket = zmq.Context.instance().socket(zmq.PULL)
        self._socket.bind(f"ipc://{folder}/frames")
        self.sender = FrameSender(f"ipc://{folder}/frames", skip_samples=1, device=torch.device("cpu"))

    def heard(self, steps: int = 1) -> list[Heard]:
        """What the next messages say, one a step."""
        parts = [part for _ in range(steps) for part in self._socket.recv_multipart()]
        return [msgspec.msgpack.decode(part, type=Heard) for part in parts]

    def close(self) -> None:
        self.sender.close()
        self._socket.close(linger=0)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    both = Pair(tmp_path)
    yield both
    both.close()


def step(*streams: int) -> StepFrames:
    rows = len(streams)
    return StepFrames(
        stream=torch.tensor(streams),
        frame=torch.zeros(rows, dtype=torch.int64),
        ended=torch.zeros(rows, dtype=torch.bool),
        codes=torch.ones(rows, 2, dtype=torch.int16),
        pcm=torch.arange(rows * 3, dtype=torch.int16).reshape(rows, 3),
    )


def test_a_stream_hears_its_own_row_without_what_is_not_sound_yet(pair: Pair) -> None:
    pair.sender.send(step(4, -1, 6))
    first, second = pair.heard()
    assert (first.stream, second.stream) == (4, 6)
    assert isinstance(second, SpeechFrames)
    assert torch.frombuffer(bytearray(second.pcm), dtype=torch.int16).tolist() == [7, 8]


def test_a_frame_that_cannot_be_sent_fails_its_stream_alone(pair: Pair) -> None:
    broken = replace(step(4, 5), codes=torch.ones(1, 2, dtype=torch.int16))
    pair.sender.send(broken)
    pair.sender.send(step(6))
    heard = pair.heard(steps=2)
    assert [type(one) for one in heard] == [SpeechFrames, StreamFailed, SpeechFrames]
    assert [one.stream for one in heard] == [4, 5, 6]
    assert pair.sender.dropped.count == 1


def test_a_step_without_a_stream_sends_nothing(pair: Pair) -> None:
    pair.sender.send(step(-1, -1))
    pair.sender.send(step(3))
    assert [one.stream for one in pair.heard()] == [3]


def test_a_step_is_one_tensor_on_its_way_to_the_host() -> None:
    """On a GPU each copy costs a launch."""
    given = replace(
        step(1 << 40, -1, 6),
        frame=torch.tensor([0, 70_000, 3]),
        ended=torch.tensor([False, True, False]),
        codes=torch.tensor([[1, 2], [3, -4], [5, 6]], dtype=torch.int16),
    )
    packed = given.packed()
    assert packed.dtype is torch.int16
    again = StepFrames.unpacked(packed, groups=2)
    for name in StepFrames.__slots__:
        assert torch.equal(getattr(again, name), getattr(given, name)), name


def test_the_thread_of_a_gpu_sends_what_it_was_given(pair: Pair) -> None:
    class Done:
        def synchronize(self) -> None:
            pass

    class Over:
        def synchronize(self) -> None:
            raise RuntimeError("the test is over")

    pair.sender._steps.put((Done(), step(4, -1, 6).packed(), 2))  # type: ignore[arg-type]
    pair.sender._steps.put((Over(), step(7).packed(), 2))  # type: ignore[arg-type]
    pair.sender._run()
    expected = step(4, -1, 6)
    first, second = pair.heard()
    assert (first.stream, second.stream) == (4, 6)
    assert isinstance(first, SpeechFrames)
    assert first.pcm == expected.pcm[0, 1:].numpy().tobytes()
    assert first.codes == expected.codes[0].numpy().tobytes()


def test_a_sender_whose_thread_has_died_ends_the_engines_next_step(pair: Pair) -> None:
    """On a GPU a thread sends, and its death went unseen."""

    class DeadEvent:
        def synchronize(self) -> None:
            raise RuntimeError("the device is gone")

    pair.sender._steps.put((DeadEvent(), step(4).packed(), 2))  # type: ignore[arg-type]
    pair.sender._run()
    with pytest.raises(RuntimeError, match="has died"):
        pair.sender.send(step(4))
