"""The Thinker's one layer more: a paged cache that keeps the accept layer's rows.

In: the model's sizes. Out: vLLM's cache-only layer. Each model fills it at every computed position, so that
prefix caching, chunked prefill and preemption keep the rows right; `media_rows.py` reads them.
"""

from __future__ import annotations

from dataclasses import replace

from transformers import PretrainedConfig
from vllm.config import VllmConfig
from vllm.model_executor.models.extract_hidden_states import CacheOnlyAttentionLayer
from vllm.model_executor.models.utils import maybe_prefix
from vllm.utils.torch_utils import is_quantized_kv_cache

ROWS_LAYER = "media_rows"


def rows_cache(vllm_config: VllmConfig, text: PretrainedConfig, prefix: str) -> CacheOnlyAttentionLayer:
    """A layer called with [num_tokens, 1, hidden], in the model's dtype even beside a quantized cache.

    ValueError for a pipeline: the layers before the accept layer's would be on another rank.
    """
    if vllm_config.parallel_config.pipeline_parallel_size > 1:
        raise ValueError("the Thinker keeps the accept layer's rows on one rank: no pipeline parallelism")
    cache_config = vllm_config.cache_config
    if is_quantized_kv_cache(cache_config.cache_dtype):
        cache_config = replace(cache_config, cache_dtype="auto")
    # Named as one layer more than the text model has: vLLM reads the layer's index out of its name.
    return CacheOnlyAttentionLayer(
        num_heads=1,
        head_size=text.hidden_size,
        cache_config=cache_config,
        prefix=maybe_prefix(prefix, f"{ROWS_LAYER}.layers.{text.num_hidden_layers}"),
    )
