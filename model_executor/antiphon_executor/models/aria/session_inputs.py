"""What a session with the Talker's engine is sent: an ARIA stream's chunks as token ids, with their frames.

In: the prompt, then chunk after chunk. Out: the ids of each input, and how many frames may be drawn behind.
The engine forgets the frame it drew last, whose row it has not computed; the next input brings it back. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.aria.chunk_rule import Chunk
from antiphon_executor.models.aria.stream import AriaKind, AriaVocabulary


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """Text tokens that enter together, and frames that follow: the checkpoint's, 4 and 4."""

    text: int
    frames: int

    def text_before(self, frames: int) -> int:
        """Text tokens in the stream when its frame number `frames` (from 1) was drawn, if it has as many."""
        return -(-frames // self.frames) * self.text


@dataclass(frozen=True, slots=True)
class SessionInput:
    """`frames`: at most so many behind `token_ids`; exactly so many where the codec's EOS is masked."""

    token_ids: list[int]
    frames: int


class AriaSessionInputs:
    """One stream's, in their order. `max_frames`: of the whole stream; `max_tokens`: of its sequence."""

    def __init__(
        self,
        prompt_ids: list[int],
        vocabulary: AriaVocabulary,
        size: ChunkSize,
        *,
        max_frames: int,
        max_tokens: int,
    ) -> None:
        """Raises InvalidRequest if the prompt leaves no room for one chunk of text and a frame."""
        if len(prompt_ids) + size.text >= max_tokens:
            raise InvalidRequest(
                f"the conversation takes {len(prompt_ids)} tokens of the {max_tokens} that speech can follow"
            )
        self._head = prompt_ids
        self._vocabulary = vocabulary
        self._size = size
        self._frames_left = max_frames
        self._tokens_left = max_tokens - len(prompt_ids)

    @property
    def full(self) -> bool:
        """Whether nothing more can be spoken, however much text there is."""
        return self._frames_left <= 0 or self._tokens_left <= 1

    def add(self, chunk: Chunk) -> SessionInput | None:
        """The next input; None where its text would leave no room for a frame."""
        wanted = self._frames_left if chunk.last else min(self._size.frames, self._frames_left)
        frames = min(wanted, self._tokens_left - len(chunk.text))
        if frames <= 0:
            return None
        text = [self._vocabulary.encode(AriaKind.TEXT, token) for token in chunk.text]
        token_ids = self._head + text
        self._head = [self._vocabulary.last_frame]
        self._frames_left -= frames
        self._tokens_left -= len(text) + frames
        return SessionInput(token_ids, frames)
