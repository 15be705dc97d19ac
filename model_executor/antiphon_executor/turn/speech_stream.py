"""One spoken answer, as the server sees it: the Thinker's token ids in, frames of sound out.

Owns the Talker's session and the frames that its worker sends meanwhile. Ends when the Talker has, and every
frame has arrived; with `RequestFailed` where one was lost or is overdue. Knows nothing of how a family's text
enters its Talker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import replace

import numpy as np

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ, SpeechDelta, SpeechEnded
from antiphon_executor.interface.request import MarkSink, SpeechSampling
from antiphon_executor.interface.settings import WaitSettings
from antiphon_executor.interface.spoken_length import VoicePace
from antiphon_executor.ipc.bridge import Bridge
from antiphon_executor.ipc.messages import HiddenStates, SpeechFrames, StreamFailed
from antiphon_executor.turn.generation_clock import GenerationClock
from antiphon_executor.turn.sound_edges import faded_in, faded_out
from antiphon_executor.turn.speech_guard import SpeechGuard
from antiphon_executor.turn.talker_session import StreamPlace, Talker

SpeechEvent = SpeechDelta | SpeechEnded
_Arrival = SpeechFrames | SpeechEnded | Exception
# Besides frames: the mark of their end, `SpeechEnded` and an error.
_OTHER_ARRIVALS = 3


class SpokenStream:
    """`feed` text as it comes; iterate `events`. Both run under one owner, which cancels them together."""

    def __init__(
        self,
        request_id: str,
        sampling: SpeechSampling,
        talker: Talker,
        bridge: Bridge,
        slot: int,
        *,
        live: bool = False,
        on_mark: MarkSink | None = None,
        guard: SpeechGuard | None = None,
        waits: WaitSettings | None = None,
        pace: VoicePace | None = None,
        park_s: float | None = None,
    ) -> None:
        self._bridge = bridge
        self._guard = guard
        self._waits = waits or WaitSettings()
        self._pace = pace
        self._whole_text: str | None = None
        self._arrivals: asyncio.Queue[_Arrival] = asyncio.Queue(sampling.max_frames + _OTHER_ARRIVALS)
        self._place = StreamPlace(request_id, bridge.open_stream(self._arrive), slot, live, on_mark)
        self._session = talker.session(self._place, sampling)
        self._fed = 0
        self._is_text_complete = False
        self._frames_arrived = 0
        self._clock = GenerationClock(park_s if live else None)
        self._sent_samples = 0
        self._taken_samples: int | None = None
        self._moved_s = time.monotonic()
        self._prompt: asyncio.Future[HiddenStates] = asyncio.get_running_loop().create_future()
        self._rows_due: asyncio.TimerHandle | None = None

    def begin(self, prompt: HiddenStates) -> None:
        """The Thinker's prompt is known: its ids, its positions and the media rows, if any."""
        if not self._prompt.done():
            self._prompt.set_result(prompt)

    def begin_with(self, rows: asyncio.Future[HiddenStates]) -> None:
        """As `begin`, as soon as the media rows are there. The Thinker has computed its prompt by now."""
        late = RequestFailed("what the model made of its media did not arrive in time")
        loop = asyncio.get_running_loop()
        self._rows_due = loop.call_later(self._waits.media_rows_s, self._fail_prompt, late)
        rows.add_done_callback(self._rows_came)

    def _rows_came(self, rows: asyncio.Future[HiddenStates]) -> None:
        if rows.cancelled():
            return
        error = rows.exception()
        if error is None:
            self.begin(rows.result())
        else:
            self._fail_prompt(error)

    def _fail_prompt(self, error: BaseException) -> None:
        if not self._prompt.done():
            self._prompt.set_exception(error)

    def feed(self, token_ids: Sequence[int], *, final: bool) -> None:
        """More text to speak, without an end marker; `final` with the last of it, which may be none."""
        self._session.feed(token_ids, final=final)
        self._fed += len(token_ids)
        self._is_text_complete = self._is_text_complete or final
        self._moved_s = time.monotonic()
        if self._guard is not None:
            self._guard.text(self._fed, complete=final)

    def text_ended(self, text: str, *, cut: bool) -> None:
        """All that is to be said. `cut`: the text does not end where the Thinker would have ended it."""
        if not cut:
            self._whole_text = text
        elif self._guard is not None and self._pace is not None:
            self._guard.cut(self._pace.frames(text), self._pace.uncertainty)

    def report_consumed(self, samples: int) -> None:
        """The client has taken this much of the stream."""
        self._taken_samples = samples
        self._moved_s = time.monotonic()
        self._clock.consumed(self._moved_s, samples / OUTPUT_SAMPLE_RATE_HZ)
        self._bridge.send_cursor(self._place.number, samples)

    async def events(self) -> AsyncGenerator[SpeechEvent]:
        """`SpeechDelta`s, then one `SpeechEnded`. Closing it aborts the Talker's request, as a guard does."""
        prompt = await self._prompt
        talking = asyncio.create_task(self._talk(prompt), name=f"talk-{self._place.request_id}")
        try:
            async for event in self._ordered():
                yield event
        finally:
            self._session.close()
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    def close(self) -> None:
        """Frames that still arrive are dropped."""
        if self._rows_due is not None:
            self._rows_due.cancel()
        self._bridge.close_stream(self._place.number)

    def _arrive(self, frame: SpeechFrames | StreamFailed) -> None:
        if isinstance(frame, StreamFailed) or frame.frame != self._frames_arrived:
            self._add_arrival(RequestFailed("a piece of its speech was lost"))
            return
        self._frames_arrived += 1
        if not frame.ended:
            self._clock.generated(time.monotonic())
        if self._place.on_mark is not None:
            self._place.on_mark("first_frame", time.monotonic())
        self._add_arrival(frame)

    def _add_arrival(self, arrival: _Arrival) -> None:
        # The Talker sends at most `max_frames` frames. Only what follows an error can find the queue full.
        if not self._arrivals.full():
            self._arrivals.put_nowait(arrival)

    async def _talk(self, prompt: HiddenStates) -> None:
        try:
            self._add_arrival(await self._session.speak(prompt))
        except Exception as error:
            self._add_arrival(error)

    async def _ordered(self) -> AsyncIterator[SpeechEvent]:
        """Frames and the engine's word on how many there are come by different ways, in any order."""
        sent = 0
        ended: SpeechEnded | None = None
        while ended is None or sent < ended.frames:
            item = await (self._next() if ended is None else self._last())
            if isinstance(item, SpeechEnded):
                ended = item
            elif isinstance(item, Exception):
                raise item
            elif not item.ended:
                sent += 1
                self._sent_samples += len(item.pcm) // 2
                guard_reason = self._guard.see(item.codes, item.pcm) if self._guard is not None else None
                if guard_reason is not None:
                    ended = SpeechEnded("length", sent, guard_reason)
                pcm = self._edged(item.pcm, first=sent == 1, cut=guard_reason is not None)
                pace = self._pace.pace if self._pace is not None else 1.0
                yield SpeechDelta(pcm, 1, self._session.text_tokens(sent), pace)
        self._learn(ended)
        yield replace(ended, real_time_factor=self._clock.factor)

    def _edged(self, pcm: bytes, *, first: bool, cut: bool) -> bytes:
        if first:
            pcm = faded_in(pcm)
        return faded_out(pcm) if cut else pcm

    def _learn(self, ended: SpeechEnded) -> None:
        """How fast the voice speaks, where it has said a whole text and stopped by itself."""
        if self._pace is not None and self._whole_text is not None and ended.finish_reason == "stop":
            self._pace.measured(self._whole_text, ended.frames)

    async def _next(self) -> _Arrival:
        """While the Talker speaks. A stream may rest for its client, and wait for its text."""
        limit_s = self._waits.next_frame_s
        while True:
            left_s = self._moved_s + limit_s - time.monotonic()
            try:
                return await self._within(max(left_s, limit_s / 10))
            except TimeoutError:
                client_is_slow = self._taken_samples is not None and self._taken_samples < self._sent_samples
                is_owed = self._is_text_complete and not client_is_slow
                if is_owed and time.monotonic() - self._moved_s >= limit_s:
                    raise RequestFailed(f"its speech has stood still for {limit_s:g} s") from None

    async def _last(self) -> _Arrival:
        """Once the Talker has ended: its frames have left it."""
        limit_s = self._waits.last_frames_s
        try:
            return await self._within(limit_s)
        except TimeoutError:
            raise RequestFailed(f"the end of its speech did not arrive in {limit_s:g} s") from None

    async def _within(self, limit_s: float) -> _Arrival:
        async with asyncio.timeout(limit_s):
            item = await self._arrivals.get()
        self._moved_s = time.monotonic()
        return item


def text_prompt(prompt_token_ids: list[int]) -> HiddenStates:
    """A prompt without media, whose positions simply count."""
    ids = np.asarray(prompt_token_ids, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return HiddenStates("", ids.tobytes(), positions.tobytes(), b"", b"", 0, "float32")
