"""What the model hears in one piece of a recording: one request to the engine, with a slot of its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from antiphon_executor.interface.errors import EngineError
from antiphon_executor.interface.events import FinishReason, PromptCounted, TextDelta, TextEnded, TokenLogprob
from antiphon_executor.interface.media import AudioClip, Media
from antiphon_executor.interface.request import OmniRequest
from antiphon_server.admission.cost_model import RequestSize, tokens_of
from antiphon_server.admission.reservation import Reservation
from antiphon_server.chat.service import Service
from antiphon_server.transcription.pauses import Piece
from antiphon_server.transcription.transcript_spec import TranscriptSpec

# No speaker says more; a longer text is invented.
_TOKENS_PER_S, _SPARE_TOKENS = 30, 16


@dataclass(slots=True)
class HeardPiece:
    """A piece, and its text so far. `ready`: its deltas, and then None or the error that ended it."""

    piece: Piece
    text: str = ""
    tokens: int = 0
    finish_reason: FinishReason = "stop"
    prompt: PromptCounted = field(default_factory=lambda: PromptCounted(0, 0, 0, 0, 0))
    logprobs: list[TokenLogprob] = field(default_factory=list)
    ready: asyncio.Queue[str | Exception | None] = field(default_factory=asyncio.Queue)

    async def deltas(self) -> AsyncIterator[str]:
        """Raises ApiError and EngineError."""
        while (delta := await self.ready.get()) is not None:
            if isinstance(delta, Exception):
                raise delta
            yield delta


def prompt_tokens(spec: TranscriptSpec, clip: AudioClip, service: Service) -> int:
    return len(spec.prompt) + tokens_of(Media(audios=(clip,)), service.engine.card.media)


async def hear_piece(
    spec: TranscriptSpec,
    heard: HeardPiece,
    clip: AudioClip,
    number: int,
    service: Service,
    recording: Reservation,
) -> None:
    """A part of `recording`. Every error is given to the reader of the piece."""
    try:
        await _hear(spec, heard, clip, number, service, recording)
    except Exception as error:
        heard.ready.put_nowait(error)
    else:
        heard.ready.put_nowait(None)


async def _hear(
    spec: TranscriptSpec,
    heard: HeardPiece,
    clip: AudioClip,
    number: int,
    service: Service,
    recording: Reservation,
) -> None:
    admission, media = service.admission, Media(audios=(clip,))
    request = OmniRequest(
        f"{spec.id}-{number}",
        spec.prompt,
        media,
        replace(spec.text, max_tokens=_most_tokens(spec, clip)),
        cache_salt=spec.owner or None,
    )
    size = RequestSize(
        prompt_tokens=prompt_tokens(spec, clip, service),
        max_tokens=request.text.max_tokens,
        media_seconds=clip.seconds,
        heard_seconds=clip.seconds,
    )
    with admission.admit(Reservation(spec.owner, part_of=recording)) as reservation:
        await admission.wait_for_slot(reservation, size)
        ended = False
        async with service.engine.generate(request) as events:
            async for event in events:
                match event:
                    case PromptCounted():
                        admission.count_prompt(reservation, event)
                        heard.prompt = event
                    case TextDelta():
                        admission.count_text(reservation, event.tokens)
                        _add_text(heard, event)
                    case TextEnded():
                        admission.release_text(reservation)
                        heard.finish_reason = event.finish_reason
                        ended = True
    if not ended:
        raise EngineError("the engine ended the transcript before it was complete")


def _most_tokens(spec: TranscriptSpec, clip: AudioClip) -> int:
    speakable = _SPARE_TOKENS + math.ceil(clip.seconds * _TOKENS_PER_S)
    return min(speakable, spec.piece_tokens or speakable)


def _add_text(heard: HeardPiece, delta: TextDelta) -> None:
    text = delta.text if heard.text else delta.text.lstrip()
    heard.text += text
    heard.tokens += delta.tokens
    heard.logprobs += delta.logprobs
    if text:
        heard.ready.put_nowait(text)
