"""A speech stream in the server's process: the guard, time limits, and what the Talker learns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.events import FinishReason, SpeechDelta, SpeechEnded
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import GuardSettings, WaitSettings
from antiphon_executor.interface.spoken_length import VoicePace
from antiphon_executor.ipc.messages import HiddenStates, SpeechFrames, StreamFailed
from antiphon_executor.models.code2wav.fades import faded_in, faded_out
from antiphon_executor.turn.speech_guard import SpeechGuard
from antiphon_executor.turn.speech_stream import SpeechStream, text_prompt
from antiphon_executor.turn.talker_session import StreamHandle

SILENT = bytes(3_840)
LOUD = (np.sin(np.arange(1920) * 0.1) * 8_000).astype("<i2").tobytes()


class Wire:
    """The bridge, as one stream sees it."""

    def __init__(self) -> None:
        self.arrived: Callable[[SpeechFrames | StreamFailed], None] = print
        self.cursors: list[tuple[int, int]] = []

    def open_stream(self, arrived: Callable[[SpeechFrames | StreamFailed], None]) -> int:
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
    """A Talker and session whose answers end only if `ends` is set."""

    def __init__(self) -> None:
        self.handle: StreamHandle | None = None
        self.cancelled = False
        self.closed = False
        self.ends: SpeechEnded | None = None

    def session(self, stream: StreamHandle, sampling: SpeechSampling) -> EndlessTalker:
        self.handle = stream
        return self

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None: ...

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
        try:
            if self.ends is not None:
                return self.ends
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError("unreachable")

    def consumed_tokens(self, frames: int) -> int:
        return frames

    def close_input(self) -> None:
        self.closed = True


class EndingTalker(EndlessTalker):
    """One whose answers end by themselves."""

    def __init__(self, reason: FinishReason, frames: int) -> None:
        super().__init__()
        self._ended = SpeechEnded(reason, frames)

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
        return self._ended


def open_stream(
    talker: EndlessTalker, wire: Wire, pace: VoicePace | None = None, **settings: Any
) -> SpeechStream:
    guard = SpeechGuard(GuardSettings(**settings))
    opening: Any = ("request", SpeechSampling("ethan"), talker, wire, 3)
    stream = SpeechStream(*opening, live=True, guard=guard, pace=pace)
    stream.set_prompt(text_prompt([1, 2, 3]))
    return stream


async def test_endless_silence_ends_the_answer_and_the_talkers_request() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire, silent_frames=5)
    stream.add_text([1, 2], final=True)
    asyncio.get_running_loop().call_later(0.01, wire.say, [LOUD] * 3 + [SILENT] * 50)
    events = [event async for event in stream.events()]
    assert [type(event) for event in events] == [SpeechDelta] * 8 + [SpeechEnded]
    assert events[-1] == SpeechEnded("length", 8, "silence")
    assert talker.cancelled
    assert talker.closed


async def test_an_answer_far_longer_than_its_text_is_ended_once_its_text_is_complete() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire, frames_per_token=2.0, spare_frames=10)
    stream.add_text([1, 2], final=False)
    stream.add_text([3], final=True)
    wire.say([LOUD] * 200)
    events = [event async for event in stream.events()]
    assert events[-1] == SpeechEnded("length", 10 + 3 * 2 + 1, "overlong")


async def test_the_talker_learns_that_a_stream_is_live_and_what_its_client_has_consumed() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire)
    stream.report_consumed(1_920)
    assert wire.cursors == [(7, 1_920)]
    assert talker.handle == StreamHandle("request", 7, 3, live=True)


def waiting(talker: EndlessTalker, wire: Wire, **waits: float) -> SpeechStream:
    settings = WaitSettings(**waits)
    return SpeechStream("request", SpeechSampling("ethan"), talker, wire, 3, live=True, waits=settings)  # type: ignore[arg-type]


async def until_lost(stream: SpeechStream) -> tuple[int, str]:
    """How many pieces came before `RequestFailed`, and what it says."""
    pieces = 0
    try:
        async with asyncio.timeout(60):
            async for event in stream.events():
                pieces += isinstance(event, SpeechDelta)
    except RequestFailed as lost:
        return pieces, str(lost)
    raise AssertionError("the stream has ended as if it were whole")


LOST: dict[str, SpeechFrames | StreamFailed] = {
    "its sender reports it": StreamFailed(7),
    "the next frame is too far on": SpeechFrames(7, 3, b"", LOUD, ended=False),
    "the end comes too soon": SpeechFrames(7, 5, b"", b"", ended=True),
}


@pytest.mark.parametrize("how", LOST)
async def test_a_stream_that_has_lost_a_frame_ends_with_an_error(how: str) -> None:
    """The client neither gets a gap nor waits for a lost frame."""
    talker, wire = EndlessTalker(), Wire()
    stream = waiting(talker, wire)
    stream.set_prompt(text_prompt([1, 2, 3]))
    wire.say([LOUD] * 2)
    asyncio.get_running_loop().call_later(0.02, wire.arrived, LOST[how])
    pieces, said = await until_lost(stream)
    assert (pieces, "a piece of its speech was lost" in said) == (2, True)
    assert talker.cancelled
    assert talker.closed


async def test_last_frames_that_never_arrive_end_the_answer_in_time() -> None:
    talker, wire = EndlessTalker(), Wire()
    talker.ends = SpeechEnded("stop", 3)
    stream = waiting(talker, wire, last_frames_s=0.05)
    stream.set_prompt(text_prompt([1, 2, 3]))
    wire.say([LOUD] * 2)
    pieces, said = await until_lost(stream)
    assert (pieces, "did not arrive in 0.05 s" in said) == (2, True)


async def test_speech_without_progress_after_a_complete_text_ends_in_time() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = waiting(talker, wire, next_frame_s=0.05)
    stream.set_prompt(text_prompt([1, 2, 3]))
    stream.add_text([1], final=True)
    wire.say([LOUD] * 2)
    pieces, said = await until_lost(stream)
    assert (pieces, "has made no progress for 0.05 s" in said) == (2, True)


@pytest.mark.parametrize("waits_for", ["its client", "its text"])
async def test_speech_that_waits_for_its_client_or_its_text_is_not_ended(waits_for: str) -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = waiting(talker, wire, next_frame_s=0.02)
    stream.set_prompt(text_prompt([1, 2, 3]))
    stream.add_text([1], final=waits_for == "its client")
    if waits_for == "its client":
        stream.report_consumed(0)
    wire.say([LOUD] * 2)
    loop = asyncio.get_running_loop()
    loop.call_later(0.3, wire.arrived, SpeechFrames(7, 2, b"", LOUD, ended=False))
    loop.call_later(0.31, wire.arrived, StreamFailed(7))
    pieces, said = await until_lost(stream)
    assert (pieces, "a piece of its speech was lost" in said) == (3, True)


async def test_hidden_states_that_never_arrive_end_the_answer_in_time() -> None:
    stream = waiting(EndlessTalker(), Wire(), media_rows_s=0.05)
    stream.set_prompt_from(asyncio.get_running_loop().create_future())
    pieces, said = await until_lost(stream)
    assert (pieces, "media did not arrive in time" in said) == (0, True)


async def test_hidden_states_that_are_lost_end_the_answer_at_once() -> None:
    stream = waiting(EndlessTalker(), Wire())
    rows = asyncio.get_running_loop().create_future()
    stream.set_prompt_from(rows)
    rows.set_exception(RequestFailed("its media were lost"))
    pieces, said = await until_lost(stream)
    assert (pieces, "its media were lost" in said) == (0, True)


async def test_an_answer_with_a_cut_text_ends_soon_after_it_and_fades_out() -> None:
    talker, wire, pace = EndlessTalker(), Wire(), VoicePace()
    stream = open_stream(talker, wire, pace)
    stream.text_was_cut("The dog")
    stream.add_text([1, 2], final=True)
    wire.say([LOUD] * 200)
    *sound, ended = [event async for event in stream.events()]
    assert isinstance(ended, SpeechEnded)
    assert ended.guard_reason == "overlong"
    assert ended.finish_reason == "length"
    assert pace.frames("The dog") < ended.frames < pace.frames("The dog") + 1.5 * 12.5
    pcm = [event.pcm for event in sound if isinstance(event, SpeechDelta)]
    assert pcm == [faded_in(LOUD), *[LOUD] * (ended.frames - 2), faded_out(LOUD)]


async def test_a_complete_answer_is_not_limited_by_the_voices_pace() -> None:
    talker, wire = EndlessTalker(), Wire()
    stream = open_stream(talker, wire, VoicePace(), frames_per_token=None)
    stream.text_completed("The dog")
    stream.add_text([1, 2], final=True)
    wire.say([LOUD] * 400)
    heard = stream.events()
    assert all([isinstance(await anext(heard), SpeechDelta) for _ in range(400)])
    await heard.aclose()  # type: ignore[attr-defined]


async def test_the_pace_of_a_voice_is_measured_on_complete_answers_that_end_by_themselves() -> None:
    wire, pace = Wire(), VoicePace()
    for cut, reason in ((True, "stop"), (False, "length"), (False, "stop")):
        stream = open_stream(EndingTalker(reason, 20), wire, pace)
        (stream.text_was_cut if cut else stream.text_completed)("The dog sleeps.")
        stream.add_text([1, 2, 3], final=True)
        wire.say([LOUD] * 20)
        assert [event async for event in stream.events()][-1] == SpeechEnded(reason, 20)
        assert (pace.uncertainty < 1) == (not cut and reason == "stop")


async def test_the_first_audio_of_an_answer_fades_in_and_the_rest_is_unchanged() -> None:
    wire = Wire()
    stream = open_stream(EndingTalker("stop", 3), wire)
    stream.add_text([1], final=True)
    wire.say([LOUD] * 3)
    events = [event async for event in stream.events()]
    assert [event.pcm for event in events if isinstance(event, SpeechDelta)] == [faded_in(LOUD), LOUD, LOUD]


async def test_the_last_event_has_the_real_time_factor() -> None:
    talker, wire = EndingTalker("stop", 6), Wire()
    stream = open_stream(talker, wire)

    async def say() -> None:
        for number in range(6):
            wire.arrived(SpeechFrames(7, number, np.int16([number]).tobytes(), LOUD, ended=False))
            await asyncio.sleep(0.02)

    saying = asyncio.create_task(say())
    end = [event async for event in stream.events()][-1]
    await saying
    assert isinstance(end, SpeechEnded)
    assert end.real_time_factor is not None
    # Five gaps of at least 20 ms, over five frames of 80 ms.
    assert 0.25 <= end.real_time_factor < 5
