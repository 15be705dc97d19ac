"""Transcripts of what the user said, as events for the client. They change nothing that the model hears."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from antiphon_executor.interface.errors import EngineError
from antiphon_server.chat.service import Service
from antiphon_server.errors import ApiError
from antiphon_server.http.error_response import error_of
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.audio.transcription import TranscriptionForm
from antiphon_server.realtime.effects import Transcribe
from antiphon_server.realtime.items import Event
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.transcription.transcript_run import RunningTranscript, hear_samples
from antiphon_server.transcription.transcript_spec import build_transcript_spec

_log = logging.getLogger("antiphon.realtime")

_KIND = "conversation.item.input_audio_transcription"


async def write_transcript(
    asked: Transcribe, machine: RealtimeMachine, service: Service, owner: str
) -> AsyncIterator[list[Event]]:
    """Deltas, then `completed` or `failed`."""
    place = {"item_id": asked.item_id, "content_index": asked.content_index}
    text = ""
    try:
        form = TranscriptionForm.model_construct(
            language=asked.asked.language, prompt=asked.asked.prompt or "", stream=True
        )
        source = MediaSource("audio", (), "audio")
        spec = await build_transcript_spec(form, "transcribe", source, service, owner)
        clip = asked.part.sound.decoded()
        async with hear_samples(spec, clip.samples, service) as running:
            async for delta in running.deltas():
                text += delta
                yield [machine.writer.event(f"{_KIND}.delta", **place, delta=delta)]
            usage = _usage_of(running)
    except Exception as error:
        if not isinstance(error, ApiError | EngineError):
            _log.exception("a transcript failed")
        shown = error_of(error)
        fields = {"type": shown.type, "code": shown.code, "message": shown.message, "param": shown.param}
        yield [machine.writer.event(f"{_KIND}.failed", **place, error=fields)]
    else:
        yield machine.transcribed(asked.part, asked.item_id, asked.content_index, text.strip(), usage)


def _usage_of(running: RunningTranscript) -> Event:
    heard = sum(piece.prompt.audio for piece in running.pieces)
    read = sum(piece.prompt.text for piece in running.pieces)
    written = sum(piece.tokens for piece in running.pieces)
    return {
        "type": "tokens",
        "total_tokens": heard + read + written,
        "input_tokens": heard + read,
        "input_token_details": {"text_tokens": read, "audio_tokens": heard},
        "output_tokens": written,
    }
