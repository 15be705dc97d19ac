"""One spoken answer, as the server sees it: the Thinker's token ids in, frames of sound out.

Owns the Talker's session and the frames that its worker sends meanwhile. Ends when the Talker has, and every
frame has arrived. Knows nothing of how a family's text enters its Talker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import numpy as np

from antiphon_executor.bridge import Bridge
from antiphon_executor.messages import MediaRows, SpeechFrames
from antiphon_executor.protocol import Note, SpeechDelta, SpeechEnded, SpeechSampling
from antiphon_executor.speech_session import StreamPlace, Talker
from antiphon_executor.talker.guard import SpeechGuard

SpeechEvent = SpeechDelta | SpeechEnded


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
        note: Note | None = None,
        guard: SpeechGuard | None = None,
    ) -> None:
        self._bridge = bridge
        self._guard = guard
        self._arrivals: asyncio.Queue[SpeechFrames | SpeechEnded | Exception] = asyncio.Queue()
        self._place = StreamPlace(request_id, bridge.open_stream(self._arrive), slot, live, note)
        self._session = talker.session(self._place, sampling)
        self._fed = 0
        self._prompt: asyncio.Future[MediaRows] = asyncio.get_running_loop().create_future()

    def begin(self, prompt: MediaRows) -> None:
        """The Thinker's prompt is known: its ids, its positions and the media rows, if any."""
        if not self._prompt.done():
            self._prompt.set_result(prompt)

    def feed(self, token_ids: Sequence[int], *, final: bool) -> None:
        """More text to speak, without an end marker; `final` with the last of it, which may be none."""
        self._session.feed(token_ids, final=final)
        self._fed += len(token_ids)
        if self._guard is not None:
            self._guard.text(self._fed, complete=final)

    def taken(self, samples: int) -> None:
        """The client has taken this much of the stream."""
        self._bridge.send_cursor(self._place.number, samples)

    async def events(self) -> AsyncIterator[SpeechEvent]:
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
        self._bridge.close_stream(self._place.number)

    def _arrive(self, frame: SpeechFrames) -> None:
        if self._place.note is not None:
            self._place.note("first_frame", time.monotonic())
        self._arrivals.put_nowait(frame)

    async def _talk(self, prompt: MediaRows) -> None:
        try:
            self._arrivals.put_nowait(await self._session.speak(prompt))
        except Exception as error:
            self._arrivals.put_nowait(error)

    async def _ordered(self) -> AsyncIterator[SpeechEvent]:
        """Frames and the engine's word on how many there are come by different ways, in any order."""
        sent = 0
        ended: SpeechEnded | None = None
        while ended is None or sent < ended.frames:
            item = await self._arrivals.get()
            if isinstance(item, SpeechEnded):
                ended = item
            elif isinstance(item, Exception):
                raise item
            elif not item.ended:
                sent += 1
                yield SpeechDelta(item.pcm, 1, self._session.text_tokens(sent))
                derailed = self._guard.see(item.codes, item.pcm) if self._guard is not None else None
                if derailed is not None:
                    ended = SpeechEnded("length", sent, derailed)
        yield ended


def text_prompt(prompt_token_ids: list[int]) -> MediaRows:
    """A prompt without media, whose positions simply count."""
    ids = np.asarray(prompt_token_ids, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return MediaRows("", ids.tobytes(), positions.tobytes(), b"", b"", 0, "float32")
