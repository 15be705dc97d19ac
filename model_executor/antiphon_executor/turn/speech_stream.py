"""The speech of one request: the Thinker's token ids in, frames of audio out.

Owns the Talker session and the frames that its worker sends. Ends when the Talker has ended and every frame
has arrived; raises `RequestFailed` if one is lost or overdue.
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
from antiphon_executor.models.code2wav.fades import faded_in, faded_out
from antiphon_executor.turn.generation_clock import GenerationClock
from antiphon_executor.turn.speech_guard import SpeechGuard
from antiphon_executor.turn.talker_session import StreamHandle, Talker

SpeechEvent = SpeechDelta | SpeechEnded
_Arrival = SpeechFrames | SpeechEnded | Exception
# In addition to frames: the mark of their end, `SpeechEnded`, and an error.
_OTHER_ARRIVALS = 3


class SpeechStream:
    """Add text with `add_text`; iterate `events`. One owner runs both and cancels them together."""

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
        self._handle = StreamHandle(request_id, bridge.open_stream(self._on_frame), slot, live, on_mark)
        self._session = talker.session(self._handle, sampling)
        self._text_tokens = 0
        self._is_text_complete = False
        self._frames_arrived = 0
        self._clock = GenerationClock(park_s if live else None)
        self._sent_samples = 0
        self._consumed_samples: int | None = None
        self._progress_at_s = time.monotonic()
        self._prompt: asyncio.Future[HiddenStates] = asyncio.get_running_loop().create_future()
        self._prompt_deadline: asyncio.TimerHandle | None = None

    def set_prompt(self, prompt: HiddenStates) -> None:
        """Sets the Thinker's prompt: ids, positions and multimodal hidden states, if any."""
        if not self._prompt.done():
            self._prompt.set_result(prompt)

    def set_prompt_from(self, hidden_states: asyncio.Future[HiddenStates]) -> None:
        """Sets the prompt as soon as its hidden states arrive. The Thinker has finished prefill by now."""
        late = RequestFailed("the model's representation of its media did not arrive in time")
        loop = asyncio.get_running_loop()
        self._prompt_deadline = loop.call_later(self._waits.media_rows_s, self._fail_prompt, late)
        hidden_states.add_done_callback(self._on_hidden_states)

    def _on_hidden_states(self, hidden_states: asyncio.Future[HiddenStates]) -> None:
        if hidden_states.cancelled():
            return
        error = hidden_states.exception()
        if error is None:
            self.set_prompt(hidden_states.result())
        else:
            self._fail_prompt(error)

    def _fail_prompt(self, error: BaseException) -> None:
        if not self._prompt.done():
            self._prompt.set_exception(error)

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None:
        """Appends text to speak, without an end marker. `final`: no more follows; the list may be empty."""
        self._session.add_text(token_ids, final=final)
        self._text_tokens += len(token_ids)
        self._is_text_complete = self._is_text_complete or final
        self._progress_at_s = time.monotonic()
        if self._guard is not None:
            self._guard.set_text(self._text_tokens, complete=final)

    def text_completed(self, text: str) -> None:
        """The Thinker has ended the text by itself. `text`: all of it."""
        self._whole_text = text

    def text_was_cut(self, text: str) -> None:
        """The text was cut before the Thinker ended it. `text`: what there is of it."""
        if self._guard is not None and self._pace is not None:
            self._guard.limit_cut_text(self._pace.frames(text), self._pace.uncertainty)

    def report_consumed(self, samples: int) -> None:
        """The client has consumed `samples` of the stream in total."""
        self._consumed_samples = samples
        self._progress_at_s = time.monotonic()
        self._clock.consumed(self._progress_at_s, samples / OUTPUT_SAMPLE_RATE_HZ)
        self._bridge.send_cursor(self._handle.number, samples)

    async def events(self) -> AsyncGenerator[SpeechEvent]:
        """`SpeechDelta`s, then one `SpeechEnded`. Closing the generator aborts the Talker's request."""
        prompt = await self._prompt
        name = f"talk-{self._handle.request_id}"
        generating = asyncio.create_task(self._run_session(prompt), name=name)
        try:
            async for event in self._ordered_events():
                yield event
        finally:
            self._session.close_input()
            generating.cancel()
            await asyncio.gather(generating, return_exceptions=True)

    def close(self) -> None:
        """Releases the stream. Frames that still arrive are dropped."""
        if self._prompt_deadline is not None:
            self._prompt_deadline.cancel()
        self._bridge.close_stream(self._handle.number)

    def _on_frame(self, frame: SpeechFrames | StreamFailed) -> None:
        if isinstance(frame, StreamFailed) or frame.frame != self._frames_arrived:
            self._add_arrival(RequestFailed("a piece of its speech was lost"))
            return
        self._frames_arrived += 1
        if not frame.ended:
            self._clock.generated(time.monotonic())
        if self._handle.on_mark is not None:
            self._handle.on_mark("first_frame", time.monotonic())
        self._add_arrival(frame)

    def _add_arrival(self, arrival: _Arrival) -> None:
        # The Talker sends at most `max_frames` frames. Only what follows an error can find the queue full.
        if not self._arrivals.full():
            self._arrivals.put_nowait(arrival)

    async def _run_session(self, prompt: HiddenStates) -> None:
        try:
            self._add_arrival(await self._session.generate_speech(prompt))
        except Exception as error:
            self._add_arrival(error)

    async def _ordered_events(self) -> AsyncIterator[SpeechEvent]:
        """Joins the frames with the engine's count of them. The two arrive separately, in any order."""
        sent = 0
        ended: SpeechEnded | None = None
        while ended is None or sent < ended.frames:
            item = await (self._next_arrival() if ended is None else self._outstanding_frame())
            if isinstance(item, SpeechEnded):
                ended = item
            elif isinstance(item, Exception):
                raise item
            elif not item.ended:
                sent += 1
                self._sent_samples += len(item.pcm) // 2
                stopped = self._guard.check_frame(item.codes, item.pcm) if self._guard is not None else None
                if stopped is not None:
                    ended = SpeechEnded("length", sent, stopped)
                pcm = faded_in(item.pcm) if sent == 1 else item.pcm
                pcm = faded_out(pcm) if stopped is not None else pcm
                pace = self._pace.pace if self._pace is not None else 1.0
                yield SpeechDelta(pcm, 1, self._session.consumed_tokens(sent), pace)
        self._measure_pace(ended)
        yield replace(ended, real_time_factor=self._clock.factor)

    def _measure_pace(self, ended: SpeechEnded) -> None:
        """Only speech that ended by itself after a complete text says how fast the voice speaks."""
        if self._pace is not None and self._whole_text is not None and ended.finish_reason == "stop":
            self._pace.measured(self._whole_text, ended.frames)

    async def _next_arrival(self) -> _Arrival:
        """While the Talker runs. A stream may be paused for its client, or wait for its text."""
        limit_s = self._waits.next_frame_s
        while True:
            left_s = self._progress_at_s + limit_s - time.monotonic()
            try:
                return await self._arrival_within(max(left_s, limit_s / 10))
            except TimeoutError:
                consumed = self._consumed_samples
                client_is_slow = consumed is not None and consumed < self._sent_samples
                is_owed = self._is_text_complete and not client_is_slow
                if is_owed and time.monotonic() - self._progress_at_s >= limit_s:
                    raise RequestFailed(f"its speech has made no progress for {limit_s:g} s") from None

    async def _outstanding_frame(self) -> _Arrival:
        """After the Talker has ended, when all frames have left it."""
        limit_s = self._waits.last_frames_s
        try:
            return await self._arrival_within(limit_s)
        except TimeoutError:
            raise RequestFailed(f"the end of its speech did not arrive in {limit_s:g} s") from None

    async def _arrival_within(self, limit_s: float) -> _Arrival:
        async with asyncio.timeout(limit_s):
            item = await self._arrivals.get()
        self._progress_at_s = time.monotonic()
        return item


def text_prompt(prompt_token_ids: list[int]) -> HiddenStates:
    """A prompt without media, whose positions are 0, 1, 2, ..."""
    ids = np.asarray(prompt_token_ids, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return HiddenStates("", ids.tobytes(), positions.tobytes(), b"", b"", 0, "float32")
