"""Cuts the text of one ARIA stream into chunks: tokens in as the Thinker generates them, chunks out.

A chunk is complete as soon as its tokens are known; tts_eos follows the last one. Control tokens, and ids
that the Talker's vocabulary lacks, are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from antiphon_executor.models.aria.chunk_rule import Chunk


class TextChunker:
    """`size`: text tokens per chunk. Speakable are ids below `vocabulary` that are not in `controls`."""

    def __init__(self, size: int, tts_eos: int, vocabulary: int, controls: Iterable[int]) -> None:
        self._size = size
        self._tts_eos = tts_eos
        self._vocabulary = vocabulary
        self._controls = frozenset(controls) | {tts_eos}
        self._waiting: list[int] = []
        self._received = 0
        self._places: list[int] = []
        self._final = False
        self._closed = False
        self._changed = asyncio.Event()
        self.entered = 0

    def add_tokens(self, token_ids: Iterable[int], *, final: bool) -> None:
        """Adds text; `final` with the last of it, which may be empty."""
        for token in token_ids:
            self._received += 1
            if self._is_speakable(token):
                self._waiting.append(token)
                self._places.append(self._received)
        if final and not self._final:
            self._final = True
            if self._waiting or self.entered:
                self._waiting.append(self._tts_eos)
        self._changed.set()

    def tokens_up_to(self, entered: int) -> int:
        """How many of the added tokens, including dropped ones, reach the stream's first `entered`."""
        return self._places[entered - 1] if entered else 0

    def close(self) -> None:
        """Stops the chunks: a consumer that waits for one waits until it is cancelled."""
        self._closed = True

    async def wait_if_closed(self) -> None:
        """Returns at once; after `close` it waits until it is cancelled."""
        if self._closed:
            await asyncio.Event().wait()

    async def chunks(self) -> AsyncGenerator[Chunk]:
        """The chunks in order; none for an answer without text. `entered`: text tokens yielded so far."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while not self._closed and (chunk := self._next()) is not None:
                self.entered += len(chunk.text) - chunk.last
                yield chunk
                if chunk.last:
                    return
            if self._final and not self._closed:
                return

    @property
    def has_chunk(self) -> bool:
        """Whether `chunks` yields or ends without more text."""
        return self._final or len(self._waiting) >= self._size

    def _next(self) -> Chunk | None:
        if not self._waiting or (len(self._waiting) < self._size and not self._final):
            return None
        text = tuple(self._waiting[: self._size])
        del self._waiting[: self._size]
        return Chunk(text, last=self._final and not self._waiting)

    def _is_speakable(self, token: int) -> bool:
        return 0 <= token < self._vocabulary and token not in self._controls
