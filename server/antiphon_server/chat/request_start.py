"""The start of a request: it waits for its slot, with one long recording or video before it decodes that.

While the medium is decoded, the engine reads the prompt up to the part that is ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from antiphon_executor.interface.engine import ReadAhead, VideoReadAhead
from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, ClipWriter, Media
from antiphon_executor.interface.request import OmniRequest, TokensAhead
from antiphon_server.admission.cost_model import RequestSize, heard_seconds, media_seconds, tokens_of
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.preparation import Preparation
from antiphon_server.chat.request_spec import RequestSpec
from antiphon_server.chat.service import Service
from antiphon_server.media.decode.audio import BeginReading
from antiphon_server.media.decode.video import BeginVideo, FrameReader, VideoStart
from antiphon_server.observability.request_trace import mark

# As often as the engine is asked how far a prompt has been read.
_COUNT_EVERY_S = 1.0


class RequestStart:
    """A context around the preparation of one request; its end stops what reads ahead."""

    def __init__(
        self,
        spec: RequestSpec,
        prompt: tuple[int, ...],
        service: Service,
        reservation: Reservation,
        clock: Callable[[], float],
        preparation: Preparation,
    ) -> None:
        self._spec = spec.without_conversation()
        self._kinds = [source.kind for source in spec.conversation.sources]
        self._prompt = prompt
        self._service = service
        self._reservation = reservation
        self._clock = clock
        self._preparation = preparation
        self._reading: ReadAhead | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._ahead = spec.ahead

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_reading()
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)

    @property
    def begin_reading(self) -> BeginReading | None:
        """For a request whose only medium is a recording, if the engine can read its prompt ahead."""
        return self._begin_reading if self._can_be_read_ahead("audio") else None

    @property
    def begin_video(self) -> BeginVideo | None:
        """For a request whose only medium is a video, likewise."""
        return self._begin_video if self._can_be_read_ahead("video") else None

    async def wait_for_slot(self, media: Media) -> None:
        """Returns when the request may run; an earlier start is corrected to the size of the media."""
        size = self._size(
            tokens_of(media, self._service.engine.card.media), media_seconds(media), heard_seconds(media)
        )
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            await waiting
        if self._reservation.started_at is None:
            await self._start(size)
        else:
            self._service.admission.correct_size(self._reservation, size)

    async def read_rest(self) -> None:
        """After the slot: returns when the engine has read a decoded medium up to its last windows.

        In parts, so that its features are not sent all at once.
        """
        if self._reading is None:
            return
        rest = asyncio.ensure_future(self._reading.read_rest())
        try:
            while not (await asyncio.wait({rest}, timeout=_COUNT_EVERY_S))[0]:
                if (progress := self._preparation.progress()) is not None:
                    self._service.admission.count_progress(self._reservation, progress)
            rest.result()
        finally:
            rest.cancel()

    async def stop_reading(self) -> TokensAhead:
        """Idempotent. What was read ahead is then kept by the engine alone."""
        reading, self._reading = self._reading, None
        self._preparation.reading = None
        if reading is not None:
            self._ahead = await reading.stop()
        return self._ahead

    async def _begin_reading(self, seconds: float, key: str) -> ClipWriter:
        engine = self._service.engine
        tokens = engine.card.media.audio_tokens(int(seconds * INPUT_SAMPLE_RATE_HZ))
        await self._start(self._size(tokens, seconds, seconds))
        request = OmniRequest(self._spec.head.id, self._prompt, cache_salt=self._spec.cache_salt)
        self._reading = self._preparation.reading = engine.read_ahead(
            request, key, self._service.media.policy.frames_folder
        )
        return self._reading.writer

    def _begin_video(self, start: VideoStart) -> FrameReader:
        """The video is decoded while its request still waits for a slot, in which it is then read."""
        engine, video, samples = self._service.engine, start.video, start.samples
        heard_s = samples / INPUT_SAMPLE_RATE_HZ
        size = video.frames.shape[1], video.frames.shape[2]
        tokens = engine.card.media.video_tokens(len(video.frames), video.frames_per_second, size, samples)
        waiting = self._start(self._size(tokens, max(start.seconds, heard_s), heard_s))
        self._waiting = asyncio.create_task(waiting, name=f"slot-{self._spec.head.id}")
        request = OmniRequest(self._spec.head.id, self._prompt, cache_salt=self._spec.cache_salt)
        folder = self._service.media.policy.frames_folder
        reading = engine.read_video_ahead(request, start.key, video, samples, folder)
        self._reading = self._preparation.reading = reading
        return _InSlot(reading, self._waiting)

    def _can_be_read_ahead(self, kind: str) -> bool:
        return self._kinds == [kind] and self._service.engine.card.reads_ahead

    async def _start(self, size: RequestSize) -> None:
        waiting_since = self._clock()
        await self._service.admission.wait_for_slot(self._reservation, size)
        self._service.metrics.request_started(self._clock() - waiting_since)
        mark("started")

    def _size(self, media_tokens: int, seconds: float, heard_s: float) -> RequestSize:
        spec = self._spec
        return RequestSize(
            prompt_tokens=len(self._prompt) + media_tokens,
            choices=spec.form.choices,
            max_tokens=spec.text.max_tokens,
            max_frames=spec.speech.max_frames if spec.speech else None,
            media_seconds=seconds,
            heard_seconds=heard_s,
        )


class _InSlot:
    """A `FrameReader` that begins when its request has a `slot`."""

    def __init__(self, reading: VideoReadAhead, slot: asyncio.Task[None]) -> None:
        self._reading = reading
        self._slot = slot
        self._frames = 0
        slot.add_done_callback(lambda _: self.frames_written(self._frames))

    @property
    def writer(self) -> ClipWriter:
        return self._reading.writer

    def frames_written(self, frames: int) -> None:
        self._frames = frames
        if self._slot.done() and not self._slot.cancelled() and self._slot.exception() is None:
            self._reading.frames_written(frames)
