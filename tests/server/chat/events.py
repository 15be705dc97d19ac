"""Events of the engine, given one by one to a part of `chat.response`, as `RequestState` does."""

from __future__ import annotations

from antiphon_executor.interface.events import OmniEvent, SpeechDelta, SpeechEnded, TextDelta, TextEnded
from antiphon_server.chat.response.alignment import Alignment
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.word_timestamps import TextEvent, WordTimestamps
from antiphon_server.chat.usage import UsageMeter
from antiphon_server.openai_api.response import Chunk


def align(alignment: Alignment, event: OmniEvent) -> None:
    match event:
        case TextDelta():
            alignment.add_text(event)
        case TextEnded():
            alignment.end_text()
        case SpeechDelta():
            alignment.add_speech(event)
        case SpeechEnded():
            alignment.end_speech(event.finish_reason)


def due(timestamps: WordTimestamps, event: OmniEvent) -> list[TextEvent]:
    """The text to write now."""
    match event:
        case TextDelta():
            return timestamps.add_text(event)
        case TextEnded():
            return timestamps.end_text(event)
        case SpeechDelta():
            timestamps.add_speech(event)
        case SpeechEnded():
            timestamps.end_speech(event)
    return []


def count(meter: UsageMeter, event: OmniEvent) -> None:
    match event:
        case TextDelta():
            meter.count_text(event.tokens)
        case SpeechDelta():
            meter.count_speech(event.frames)
        case TextEnded() | SpeechEnded():
            pass
        case _:
            meter.count_prompt(event)


def chunks_of(writer: ChunkWriter, event: OmniEvent) -> list[Chunk]:
    """Without packets: each piece of speech is a chunk."""
    match event:
        case TextDelta():
            return writer.text_chunks(event)
        case TextEnded():
            return writer.text_end_chunks(event)
        case SpeechDelta():
            return writer.audio_chunks(event.pcm)
        case SpeechEnded():
            writer.end_speech(event)
    return []
