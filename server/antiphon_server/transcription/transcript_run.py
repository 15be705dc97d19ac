"""Runs one recording: decodes it, cuts it at pauses, and hears several pieces at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.transcription.pauses import Piece, VoiceDetector, cut_at_pauses, whole
from antiphon_server.transcription.piece_run import HeardPiece, hear_piece, prompt_tokens
from antiphon_server.transcription.transcript_spec import TranscriptSpec

# Chinese characters, kana and full-width marks: no space stands between sentences.
_UNSPACED = ("\u3000", "\u9fff")


@dataclass(frozen=True, slots=True)
class RunningTranscript:
    """`pieces`: in order, complete when `deltas` has been read. `seconds`: of the recording."""

    spec: TranscriptSpec
    pieces: list[HeardPiece]
    seconds: float

    async def deltas(self) -> AsyncIterator[str]:
        """The text of all pieces, joined. Raises ApiError and EngineError."""
        last = ""
        for heard in self.pieces:
            begins = True
            async for delta in heard.deltas():
                yield _space_between(last, delta) + delta if begins else delta
                last, begins = delta, False

    async def text(self) -> str:
        return "".join([delta async for delta in self.deltas()])


@asynccontextmanager
async def run_transcript(
    spec: TranscriptSpec, service: Service, release_body: Callable[[], None]
) -> AsyncIterator[RunningTranscript]:
    """Leaving the block ends all that still runs. Raises ApiError.

    The recording counts as media of this request; each piece waits for a slot of its own. `release_body` is
    called when it has been decoded.
    """
    with service.admission.admit(Reservation(spec.owner)) as reservation:
        samples = await _load(spec, service, reservation)
        spec = replace(spec, source=replace(spec.source, stored=None))
        release_body()
        async with _hear(spec, samples, service, reservation) as running:
            yield running


@asynccontextmanager
async def hear_samples(
    spec: TranscriptSpec, samples: NDArray[np.float32], service: Service
) -> AsyncIterator[RunningTranscript]:
    """As `run_transcript`, for sound that is decoded already."""
    with service.admission.admit(Reservation(spec.owner)) as reservation:
        async with _hear(spec, samples, service, reservation) as running:
            yield running


@asynccontextmanager
async def _hear(
    spec: TranscriptSpec, samples: NDArray[np.float32], service: Service, reservation: Reservation
) -> AsyncIterator[RunningTranscript]:
    pieces = await _pieces(spec, samples, service)
    heard = [HeardPiece(piece) for piece in pieces]
    clips = [AudioClip(samples[piece.start : piece.end]) for piece in pieces]
    tokens = sum(prompt_tokens(spec, clip, service) for clip in clips)
    service.admission.begin_parts(reservation, tokens, sum(clip.seconds for clip in clips))
    left = iter(enumerate(zip(heard, clips, strict=True)))

    async def hear() -> None:
        for number, (one, clip) in left:
            await hear_piece(spec, one, clip, number, service, reservation)

    at_once = service.admission.capacity.side_by_side(service.settings.chat.heard_pieces)
    hearing = [asyncio.create_task(hear()) for _ in range(min(at_once, len(pieces)))]
    try:
        yield RunningTranscript(spec, heard, len(samples) / INPUT_SAMPLE_RATE_HZ)
    finally:
        for task in hearing:
            task.cancel()
        await asyncio.gather(*hearing, return_exceptions=True)


async def _load(spec: TranscriptSpec, service: Service, reservation: Reservation) -> NDArray[np.float32]:
    try:
        hold = partial(service.admission.hold_media, reservation)
        clip = await service.media.load_samples(spec.source, hold)
    except ApiError as error:
        service.metrics.media_rejected(error)
        raise
    service.metrics.media_heard(clip.seconds)
    return clip.samples


async def _pieces(spec: TranscriptSpec, samples: NDArray[np.float32], service: Service) -> list[Piece]:
    """Seconds of work for an hour. The thread ends soon if the client leaves."""
    is_left = threading.Event()
    detector = VoiceDetector(service.voice_activity, spec.cutting.threshold, is_left.is_set)
    try:
        return await asyncio.to_thread(_cut, samples, spec, detector)
    finally:
        is_left.set()


def _cut(samples: NDArray[np.float32], spec: TranscriptSpec, detector: VoiceDetector) -> list[Piece]:
    """None for silence: a model that is asked about it would invent something."""
    active = detector.activity(samples)
    if len(samples) > spec.cuts_beyond_s * INPUT_SAMPLE_RATE_HZ:
        return cut_at_pauses(samples, active, spec.cutting)
    return whole(samples, active)


def _space_between(before: str, after: str) -> str:
    if not before or before[-1].isspace():
        return ""
    return "" if any(_UNSPACED[0] <= one <= _UNSPACED[1] for one in (before[-1], after[0])) else " "
