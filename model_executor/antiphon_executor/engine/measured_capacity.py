"""Reads the KV cache capacity of the running engines, as vLLM determined it at start."""

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

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.config.CacheConfig": (
        "block_size",
        "kv_cache_max_concurrency",
        "num_gpu_blocks",
    ),
    "vllm.config.ModelConfig": ("max_model_len",),
    "vllm.config.VllmConfig": ("use_v2_model_runner",),
}


def engine_capacity(
    settings: EngineSettings, config: PreTrainedConfig, engines: Mapping[str, VllmConfig]
) -> EngineCapacity:
    """`engines`: vLLM's configuration by stage, after the stage has started."""
    interleaved = family_of(config) is QWEN3_5_OMNI
    talker = engines.get("talker")
    return EngineCapacity(
        thinker=cache_capacity(
            engines["thinker"],
            thinker_pages(config, settings).token_groups,
            shares_prompts=settings.thinker.enable_prefix_caching,
        ),
        talker=_talker_capacity(config, settings, talker) if talker else None,
        frame_tokens=2 if interleaved else 1,
    )


def _talker_capacity(
    config: PreTrainedConfig, settings: EngineSettings, vllm: VllmConfig
) -> CacheCapacity | None:
    pages = talker_pages(config, settings.talker, on_cpu=not vllm.use_v2_model_runner)
    return cache_capacity(vllm, pages.token_groups)


def cache_capacity(vllm: VllmConfig, spans: int, *, shares_prompts: bool = True) -> CacheCapacity | None:
    """The capacity of one engine; None if vLLM reports no cache. `spans`: layer groups that keep every token.

    vLLM reports the number of blocks of the longest request. Blocks not explained by `spans` are the fixed
    number that every request takes, whatever its length.
    """
    cache = vllm.cache_config
    blocks, concurrency = cache.num_gpu_blocks, cache.kv_cache_max_concurrency
    if not blocks or not concurrency:
        return None
    longest = round(blocks / concurrency)
    per_token = spans * -(-vllm.model_config.max_model_len // cache.block_size)
    return CacheCapacity(
        # vLLM reserves one block.
        blocks=blocks - 1,
        block_tokens=cache.block_size,
        span_blocks=spans,
        request_blocks=max(longest - per_token, 0),
        shares_prompts=shares_prompts,
    )
