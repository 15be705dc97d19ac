"""The chunks of one streamed answer as JSON; those that differ only in their text come from a template.

A template is made from a chunk of `ChunkWriter`, so the wire models alone define the format.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

import pybase64
from pydantic_core import to_json

from antiphon_executor.interface.events import TextDelta, TextEnded
from antiphon_server.chat.request_spec import AnswerForm
from antiphon_server.chat.response.alignment import TimedWord
from antiphon_server.chat.response.answer_parser import AnswerPart
from antiphon_server.chat.response.chunks import ChunkWriter
from antiphon_server.chat.response.tool_calls import CalledTool, MoreArguments
from antiphon_server.openai_api.response import Chunk

# Stands for the text in the chunk that a template is made from; random, so that no model's name contains it.
_GAP = secrets.token_hex(16)


class ChunkTemplate:
    """JSON of a chunk with a gap for its text, which may stand in several fields."""

    def __init__(self, chunk_of: Callable[[str], Chunk]) -> None:
        self._parts = chunk_of(_GAP).to_json().split(to_json(_GAP))

    def fill(self, text: str) -> bytes:
        return to_json(text).join(self._parts)


class ChunkJson:
    """`writer`'s chunks, byte for byte. Usage that grows with each chunk leaves nothing for a template."""

    def __init__(self, writer: ChunkWriter, form: AnswerForm) -> None:
        self._writer = writer
        self._is_fixed = not form.continuous_usage
        self._texts: dict[tuple[int, type[AnswerPart]], ChunkTemplate] = {}
        self._audio: ChunkTemplate | None = None

    def text(self, delta: TextDelta) -> list[bytes]:
        if not self._is_fixed or delta.logprobs:
            return to_json_list(self._writer.text_chunks(delta))
        return [self._part(delta.choice, part) for part in self._writer.parse_text(delta)]

    def text_end(self, end: TextEnded) -> list[bytes]:
        return to_json_list(self._writer.text_end_chunks(end))

    def audio(self, data: bytes) -> list[bytes]:
        """`data`: more bytes of the answer's audio format."""
        if not self._is_fixed:
            return to_json_list(self._writer.audio_chunks(data))
        aligned = self._writer.align_audio(data)
        if not aligned:
            return []
        if self._audio is None:
            self._audio = ChunkTemplate(self._writer.data_chunk)
        return [self._audio.fill(pybase64.b64encode_as_string(aligned))]

    def words(self, words: list[TimedWord]) -> list[bytes]:
        return to_json_list(self._writer.word_chunks(words))

    def _part(self, choice: int, part: AnswerPart) -> bytes:
        if isinstance(part, CalledTool | MoreArguments):
            return self._writer.part_chunk(choice, part).to_json()
        self._writer.add_transcript(part)
        kind = type(part)
        template = self._texts.get((choice, kind))
        if template is None:
            template = ChunkTemplate(lambda text: self._writer.part_chunk(choice, kind(text)))
            self._texts[choice, kind] = template
        return template.fill(part.text)


def to_json_list(chunks: Iterable[Chunk]) -> list[bytes]:
    return [chunk.to_json() for chunk in chunks]
