"""A spoken answer from the server's side: what the guard does to it, and whom it tells what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from antiphon_executor.messages import MediaRows, SpeechFrames
from antiphon_executor.protocol import SpeechDelta, SpeechEnded, SpeechSampling
from antiphon_executor.settings import GuardSettings
from antiphon_executor.speech_session import StreamPlace
from antiphon_executor.spoken_stream import SpokenStream, text_prompt
from antiphon_executor.talker.guard import SpeechGuard

SILENT = bytes(3_840)
LOUD = (np.sin(np.arange(1920) * 0.1) * 8_000).astype("<i2").tobytes()


class Wire:
    """The bridge, as one stream sees it."""

    def __init__(self) -> None:
        self.arrived: Callable[[SpeechFrames], None] = print
        self.cursors: list[tuple[int, int]] = []

    def open_stream(self, arrived: Callable[[SpeechFrames], None]) -> int:
        self.arrived = arrived
        return 7

    def close_stream(self, number: int) -> None:
        self.arrived = print

    def send_cursor(self, stream: int, samples: int) -> None:
        self.cursors.append((stream, samples))

    def say(self, frames: Sequence[bytes]) -> None:
        for number, pcm in enumerate(frames):
            self.arrived(SpeechFrames(7, number, np.int16([number]).tobytes(), pcm, ended=False))


class EndlessTalker:
    """A Talker whose answers never end by themselves; a `SpeechSession` of its own."""

    def __init__(self) -> None:
        self.place: StreamPlace | None = None
        self.cancelled = False
        self.closed = False

    def session(self, place: StreamPlace, sampling: SpeechSampling) -> EndlessTalker:
        self.place = place
        return self

    def feed(self, token_ids: Sequence[int], *, final: bool) -> None: ...

    async def speak(self, prompt: MediaRows) -> SpeechEnded:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError("unreachable")

    def text_tokens(self, frames: int) -> int:
        return frames

    def close(self) -> None:
        self.closed = True


def open_stream(talker: EndlessTalker, wire: Wire, **settings: Any) -> SpokenStream:
    guard = SpeechGuard(GuardSettings(**settings))
    stream = SpokenStream("turn", SpeechSampling("ethan"), talker, wire, 3, live=True, guard=guard)  # type: ignore[arg-type]
    stream.begin(text_prompt([1, 2, 3]))
    return stream


async def test_silence_without_end_ends_the_answer_and_the_talkers_request() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire, silent_frames=5)
    stream.feed([1, 2], final=True)
    asyncio.get_running_loop().call_later(0.01, wire.say, [LOUD] * 3 + [SILENT] * 50)
    events = [event async for event in stream.events()]
    assert [type(event) for event in events] == [SpeechDelta] * 8 + [SpeechEnded]
    assert events[-1] == SpeechEnded("length", 8, "silence")
    assert talker.cancelled
    assert talker.closed


async def test_an_answer_far_longer_than_its_text_is_ended_once_its_text_is_complete() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire, frames_per_token=2.0, spare_frames=10)
    stream.feed([1, 2], final=False)
    stream.feed([3], final=True)
    wire.say([LOUD] * 200)
    events = [event async for event in stream.events()]
    assert events[-1] == SpeechEnded("length", 10 + 3 * 2 + 1, "overlong")


async def test_the_talker_is_told_who_listens_and_what_has_been_taken() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire)
    stream.taken(1_920)
    assert wire.cursors == [(7, 1_920)]
    assert talker.place == StreamPlace("turn", 7, 3, live=True)
