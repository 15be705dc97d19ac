"""Reads a given text aloud: Talker streams, one per piece of the text, joined to one speech.

The Thinker has no part in it: a text token's row follows from its id. Cancelling `ReadingRun.run` aborts the
Talker's request and releases the slot before it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, closing
from dataclasses import replace

from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import SpeechDelta, SpeechEnded
from antiphon_executor.interface.request import ReadingRequest
from antiphon_executor.models.code2wav.fades import joined
from antiphon_executor.models.special_tokens import ROLE_TOKENS
from antiphon_executor.turn.request_context import RequestContext
from antiphon_executor.turn.request_run import open_speech
from antiphon_executor.turn.speech_stream import SpeechStream, text_prompt
from antiphon_executor.turn.talker_session import Talker

_NOTHING = SpeechEnded("stop", 0)


class ReadingRun:
    """Runs one request. Use `run` once."""

    def __init__(self, context: RequestContext, talker: Talker, request: ReadingRequest) -> None:
        self._context = context
        self._talker = talker.for_known_text()
        self._request = request
        self._failure: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._stream: SpeechStream | None = None
        # Of the pieces before the one that is spoken.
        self._earlier_samples = 0
        self._earlier_tokens = 0
        self._samples = 0
        self._last_sample = 0
        self._ended = _NOTHING

    @property
    def request_id(self) -> str:
        return self._request.request_id

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it needs."""
        return ("talker",)

    def report_consumed(self, samples: int) -> None:
        """The client has consumed `samples` of the speech in total."""
        if self._stream is not None:
            self._stream.report_consumed(max(samples - self._earlier_samples, 0))

    def fail(self, error: Exception) -> None:
        """Ends the request with `error`, after the events that are already queued."""
        if not self._failure.done():
            self._failure.set_result(error)

    async def run(self, events: EventStream) -> None:
        """Puts the request's events. Raises `EngineBusy` if no slot is free."""
        reading = asyncio.create_task(self._read(events), name=f"read-{self.request_id}")
        try:
            await asyncio.wait((self._failure, reading), return_when=asyncio.FIRST_COMPLETED)
            if self._failure.done():
                raise self._failure.result()
            if reading.cancelled():
                raise RuntimeError("the engine cancelled the request")
            reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, events: EventStream) -> None:
        with self._context.slots.lease_slot() as slot:
            for prompt, piece in zip(self._request.prompts, self._request.pieces, strict=True):
                left = self._request.speech.max_frames - self._ended.frames
                if left <= 0:
                    self._ended = replace(self._ended, finish_reason="length")
                    break
                await self._speak(prompt, piece, slot, left, events)
        await events.put(self._ended)

    async def _speak(
        self,
        prompt: tuple[int, ...],
        piece: tuple[int, ...],
        slot: int,
        max_frames: int,
        events: EventStream,
    ) -> None:
        """Speaks one piece as the answer to its prompt, behind those before it."""
        sampling = replace(self._request.speech, max_frames=max_frames)
        self._earlier_samples = self._samples
        with closing(open_speech(self._context, self._request, sampling, self._talker, slot)) as stream:
            self._stream = stream
            stream.set_prompt(text_prompt(_up_to_answer(prompt, self._context.ids.im_start)))
            cut = self._context.cut_text()
            # A Talker is sure to end only after a full stop.
            spoken = cut.with_full_stop(piece) if cut is not None else piece
            stream.text_completed(self._context.decode(list(piece)))
            stream.add_text(spoken, final=True)
            async with aclosing(stream.events()) as speech:
                async for event in speech:
                    if isinstance(event, SpeechDelta):
                        await events.put(self._placed(event, len(piece)))
                    else:
                        self._ended = _added(self._ended, event)
        self._earlier_tokens += len(piece)

    def _placed(self, delta: SpeechDelta, tokens: int) -> SpeechDelta:
        """A piece's speech as part of the whole. `tokens`: of the piece."""
        pcm = delta.pcm
        if self._samples == self._earlier_samples and self._last_sample:
            pcm = joined(pcm, self._last_sample)
        self._samples += len(pcm) // 2
        self._last_sample = int.from_bytes(pcm[-2:], "little", signed=True)
        return replace(delta, pcm=pcm, text_tokens=self._earlier_tokens + min(delta.text_tokens, tokens))


def _up_to_answer(prompt: Sequence[int], im_start: int) -> list[int]:
    """Without what the template puts at the beginning of an answer (no thoughts): it is not to be read."""
    header = max((at for at, token in enumerate(prompt) if token == im_start), default=0)
    return list(prompt[: header + ROLE_TOKENS])


def _added(whole: SpeechEnded, piece: SpeechEnded) -> SpeechEnded:
    """The end of both. Each counts by its frames for the real-time factor."""
    timed = [one for one in (whole, piece) if one.real_time_factor is not None]
    frames = sum(one.frames for one in timed)
    spent = sum(one.frames * one.real_time_factor for one in timed if one.real_time_factor is not None)
    return SpeechEnded(
        "length" if "length" in (whole.finish_reason, piece.finish_reason) else "stop",
        whole.frames + piece.frames,
        whole.guard_reason or piece.guard_reason,
        spent / frames if frames else None,
    )
