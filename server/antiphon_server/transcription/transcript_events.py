"""The events of a streamed transcript: OpenAI's, or vLLM's chunks for a form with vLLM's fields."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from antiphon_server.openai_api.audio.transcription import (
    TranscriptChunk,
    TranscriptChunkChoice,
    TranscriptChunkDelta,
    TranscriptChunkUsage,
    TranscriptDelta,
    TranscriptDone,
    TranscriptionForm,
    TranslationForm,
)
from antiphon_server.transcription.piece_run import HeardPiece
from antiphon_server.transcription.transcript_formats import usage_of


class TranscriptEvents(Protocol):
    """Each event is the data of one server-sent event."""

    def delta(self, text: str, pieces: Sequence[HeardPiece]) -> bytes:
        """More of the text."""

    def end(self, text: str, pieces: Sequence[HeardPiece]) -> list[bytes]:
        """The last events. `text`: of all pieces."""


class OpenAIEvents:
    def delta(self, text: str, pieces: Sequence[HeardPiece]) -> bytes:
        return TranscriptDelta(delta=text).model_dump_json().encode()

    def end(self, text: str, pieces: Sequence[HeardPiece]) -> list[bytes]:
        return [TranscriptDone(text=text, usage=usage_of(pieces)).model_dump_json().encode()]


@dataclass(frozen=True, slots=True)
class VllmChunks:
    """`usage`: a chunk with the usage ends the answer. `continuous`: each chunk has it so far."""

    id: str
    model: str
    created: int
    usage: bool
    continuous: bool

    def delta(self, text: str, pieces: Sequence[HeardPiece]) -> bytes:
        choice = TranscriptChunkChoice(delta=TranscriptChunkDelta(content=text))
        return self._chunk([choice], _usage(pieces) if self.continuous else None)

    def end(self, text: str, pieces: Sequence[HeardPiece]) -> list[bytes]:
        is_cut = any(one.finish_reason == "length" for one in pieces)
        last = TranscriptChunkChoice(
            delta=TranscriptChunkDelta(content=""), finish_reason="length" if is_cut else "stop"
        )
        chunks = [self._chunk([last], _usage(pieces) if self.continuous else None)]
        if self.usage:
            chunks.append(self._chunk([], _usage(pieces)))
        return [*chunks, b"[DONE]"]

    def _chunk(self, choices: list[TranscriptChunkChoice], usage: TranscriptChunkUsage | None) -> bytes:
        chunk = TranscriptChunk(
            id=self.id, created=self.created, model=self.model, choices=choices, usage=usage
        )
        return chunk.model_dump_json(exclude={"usage"} if usage is None else None).encode()


def events_of(form: TranslationForm, request_id: str, model: str) -> TranscriptEvents:
    """What the client of this form reads: vLLM's clients name the usage of a stream."""
    if not isinstance(form, TranscriptionForm):
        return OpenAIEvents()
    usage, continuous = form.stream_include_usage, form.stream_continuous_usage_stats
    if usage is None and continuous is None:
        return OpenAIEvents()
    created = int(time.time())  # noqa: TID251
    return VllmChunks(request_id, model, created, bool(usage), bool(usage and continuous))


def _usage(pieces: Sequence[HeardPiece]) -> TranscriptChunkUsage:
    used = usage_of(pieces)
    return TranscriptChunkUsage(
        prompt_tokens=used.input_tokens,
        completion_tokens=used.output_tokens,
        total_tokens=used.total_tokens,
    )
