"""The inputs of a streaming session with the Talker's engine: the chunks of one ARIA stream as token ids.

The engine drops the token of the last frame of an input, whose row it has not computed; the next input
repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.aria.chunk_rule import Chunk
from antiphon_executor.models.aria.vocabulary import AriaKind, AriaVocabulary

# Tokens that are drawn after the prompt alone.
UNHEARD_TOKENS = 1


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """Text tokens and frames per chunk: the checkpoint's, usually 4 and 4."""

    text: int
    frames: int

    def text_before(self, frames: int) -> int:
        """Text tokens before frame number `frames` (from 1) of a stream with enough text."""
        return -(-frames // self.frames) * self.text


@dataclass(frozen=True, slots=True)
class SessionInput:
    """`frames`: most frames to draw after `token_ids`; exactly that many if the codec's EOS is masked."""

    token_ids: list[int]
    frames: int


class AriaSessionInputs:
    """One stream's inputs, in order. `max_frames`: of the stream; `max_tokens`: of its whole sequence."""

    def __init__(
        self,
        prompt_ids: list[int],
        vocabulary: AriaVocabulary,
        size: ChunkSize,
        *,
        max_frames: int,
        max_tokens: int,
    ) -> None:
        """InvalidRequest if the prompt leaves no room for one chunk of text and a frame."""
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
        """Whether the stream has no room for another frame."""
        return self._frames_left <= 0 or self._tokens_left <= 1

    def prompt(self) -> SessionInput:
        """An input before the first chunk: the prompt alone, computed while the text is generated.

        The engine must draw a token after it. That is no frame, and the engine drops it.
        """
        head, self._head = self._head, []
        return SessionInput(head, UNHEARD_TOKENS)

    def add(self, chunk: Chunk) -> SessionInput | None:
        """The next input; None if its text would leave no room for a frame."""
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
