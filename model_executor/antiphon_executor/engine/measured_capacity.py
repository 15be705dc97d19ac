"""How much the running engines hold, as vLLM settled it at their start.

In: the stages, and what is known of the checkpoint's layers. Out: an `EngineCapacity`. Pure reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.planning.planner import talker_pages, thinker_pages

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def engine_capacity(
    settings: EngineSettings, config: PreTrainedConfig, engines: Mapping[str, VllmConfig]
) -> EngineCapacity:
    """`engines`: by stage, as they are once the stage is ready."""
    interleaved = family_of(config) is QWEN3_5_OMNI
    talker = engines.get("talker")
    return EngineCapacity(
        thinker=settled(
            engines["thinker"],
            thinker_pages(config, settings.thinker).spans,
            shares_prompts=settings.thinker.enable_prefix_caching,
        ),
        talker=settled(talker, talker_pages(config, settings.talker).spans) if talker else None,
        frame_tokens=2 if interleaved else 1,
    )


def settled(vllm: VllmConfig, spans: int, *, shares_prompts: bool = True) -> CacheCapacity | None:
    """`spans`: groups of layers that keep every token. None where vLLM says nothing of its cache.

    vLLM says how many blocks the longest request takes. What those groups do not explain of it is what every
    request takes, short as it may be.
    """
    cache = vllm.cache_config
    blocks, concurrency = cache.num_gpu_blocks, cache.kv_cache_max_concurrency
    if not blocks or not concurrency:
        return None
    longest = round(blocks / concurrency)
    per_token = spans * -(-vllm.model_config.max_model_len // cache.block_size)
    return CacheCapacity(
        # vLLM keeps one block for itself.
        blocks=blocks - 1,
        block_tokens=cache.block_size,
        span_blocks=spans,
        request_blocks=max(longest - per_token, 0),
        shares_prompts=shares_prompts,
    )
