"""The engines' capacity (`EngineCapacity`, fixed at start) and speed (`FrameTime`, as measured now)."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Features of media that vLLM keeps for later requests with the same media.
FEATURE_CACHE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class CacheCapacity:
    """An engine's KV cache, in blocks shared by all its requests.

    A request takes `request_blocks` at any length (recurrent states) plus `span_blocks` for each started
    group of `block_tokens` tokens. `shares_prompts`: several answers to one prompt store its blocks once.
    """

    blocks: int
    block_tokens: int
    span_blocks: int = 1
    request_blocks: int = 0
    shares_prompts: bool = True

    def blocks_for(self, prompt_tokens: int, answer_tokens: int, choices: int = 1) -> int:
        """Blocks for `choices` answers to one prompt.

        With `shares_prompts` they share the prompt's complete blocks, except the last token's.
        """
        each = self._spans(prompt_tokens + answer_tokens)
        common = max(prompt_tokens - 1, 0) // self.block_tokens if self.shares_prompts else 0
        spans = common + choices * (each - common)
        return choices * self.request_blocks + spans * self.span_blocks

    def _spans(self, tokens: int) -> int:
        return -(-tokens // self.block_tokens)


@dataclass(frozen=True, slots=True)
class EngineCapacity:
    """Cache capacity of both engines, measured at start. None: unknown, so admission does not limit it.

    `frame_tokens`: Talker cache tokens per frame of speech.
    """

    thinker: CacheCapacity | None = None
    talker: CacheCapacity | None = None
    frame_tokens: int = 1


@dataclass(frozen=True, slots=True)
class FrameTime:
    """Measured Talker step times. One step generates one frame for each stream in the batch.

    `step_s`: seconds per step (mean plus deviation) for batches of 1, 2, ... streams, as far as measured.
    `live_stream_limit`: live streams that the Talker can serve in real time, extrapolated linearly beyond the
    measured sizes; None before the first measurement. `startup_buffer_s`: seconds of speech that a client
    should buffer before it starts to play.
    """

    step_s: tuple[float, ...] = ()
    live_stream_limit: int | None = None
    startup_buffer_s: float = 0.0

    def with_halved_limit(self) -> FrameTime:
        """The same figures with half the limit (at least 1), for measurements that have become old.

        Without this, one slow measurement would block all live streams while none runs to measure again, and
        one fast measurement could admit too many.
        """
        live = self.live_stream_limit
        return self if live is None else replace(self, live_stream_limit=max(-(-live // 2), 1))
