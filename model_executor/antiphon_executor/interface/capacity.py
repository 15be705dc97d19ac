"""What the engines can hold and how fast they are, in the server's terms: a part of `protocol.py`'s boundary.

In: nothing. Out: frozen figures, once for a started engine (`EngineCapacity`) or as of now (`FrameTime`).
Nothing here imports torch, vLLM or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class CacheCapacity:
    """An engine's KV cache, in blocks that all its requests share.

    A request takes `request_blocks` whatever its length (recurrent states), and `span_blocks` for every
    `block_tokens` tokens that it has begun. `shares_prompts`: answers to one prompt keep it once.
    """

    blocks: int
    block_tokens: int
    span_blocks: int = 1
    request_blocks: int = 0
    shares_prompts: bool = True

    def blocks_for(self, prompt_tokens: int, answer_tokens: int, choices: int = 1) -> int:
        """Of `choices` answers to one prompt: they share its whole blocks, without its last token's."""
        each = self._spans(prompt_tokens + answer_tokens)
        common = max(prompt_tokens - 1, 0) // self.block_tokens if self.shares_prompts else 0
        spans = common + choices * (each - common)
        return choices * self.request_blocks + spans * self.span_blocks

    def _spans(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)


@dataclass(frozen=True, slots=True)
class EngineCapacity:
    """As the engines settled it when they started. None: not known, and nobody counts it.

    `frame_tokens`: what a frame of speech takes of the Talker's cache.
    """

    thinker: CacheCapacity | None = None
    talker: CacheCapacity | None = None
    frame_tokens: int = 1


@dataclass(frozen=True, slots=True)
class FrameTime:
    """How long the Talker's steps take these days, each of one frame a stream.

    `step_s`: with their usual deviation, of 1, 2, ... streams, as far as was measured. `live_streams`: how
    many the Talker can keep ahead of their listeners, by those figures and, beyond them, by a line through
    them; None as long as nothing has been measured. `opening_s`: speech that a client should have before it
    begins to play.
    """

    step_s: tuple[float, ...] = ()
    live_streams: int | None = None
    opening_s: float = 0.0

    def aged(self) -> FrameTime:
        """After a while without a step: half of the streams, and one at least, which shows what holds now.

        A slow moment would keep all streams out for as long as none runs; a fast one might let too many in.
        """
        live = self.live_streams
        return self if live is None else replace(self, live_streams=max(-(-live // 2), 1))
