"""Paged cache for the Thinker's hidden states of every computed position, beside the keys and values.

It is part of vLLM's KV cache, so prefix caching, chunked prefill and preemption work. Its layers have an
attention layer's spec: in a cache group of its own, one layer would take as much memory as all attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional
from vllm.config import VllmConfig, get_layers_from_vllm_config
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.models.utils import maybe_prefix
from vllm.v1.attention.backend import AttentionBackend, AttentionType
from vllm.v1.kv_cache_interface import AttentionSpec, KVCacheSpec

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.model_executor.layers.attention.Attention": (
        "attn_type",
        "get_attn_backend()",
        "get_kv_cache_spec(vllm_config)",
        "impl",
        "num_heads",
    ),
    "vllm.config.VllmConfig": ("kv_transfer_config",),
    "vllm.config.CompilationConfig": ("static_forward_context",),
    "vllm.forward_context.ForwardContext": ("slot_mapping",),
    "vllm.v1.kv_cache_interface.AttentionSpec": (
        "state_content_size_bytes",
        "tokens_per_state",
    ),
}

HIDDEN_STATES_LAYER = "hidden_states"


def speaks(vllm_config: VllmConfig) -> bool:
    """Whether a Talker reads the hidden states. Without one, none are kept."""
    return vllm_config.kv_transfer_config is not None


class HiddenStatesLayer(AttentionLayerBase):
    """A layer without attention, with the spec, backend and metadata of its `host`.

    `kv_cache`: [blocks, heads, block_size, content]; the memory layout is the backend's.
    """

    def __init__(self, host: Attention) -> None:
        self._host = host
        self.impl = host.impl
        self.num_heads = host.num_heads
        self.kv_cache = torch.tensor([])

    def get_attn_backend(self) -> type[AttentionBackend]:
        return self._host.get_attn_backend()

    def get_kv_cache_spec(self, vllm_config: VllmConfig) -> KVCacheSpec | None:
        return self._host.get_kv_cache_spec(vllm_config)


class HiddenStatesCache:
    """As many cache layers as one row needs; their numbers follow the text model's last layer.

    Call it with rows [N, hidden] in the model's dtype. ValueError for pipeline parallelism: the cached layer
    would be on another rank.
    """

    def __init__(self, vllm_config: VllmConfig, hidden: int, layers_before: int, prefix: str) -> None:
        if vllm_config.parallel_config.pipeline_parallel_size > 1:
            raise ValueError(
                "the Thinker caches hidden states on one rank: pipeline parallelism is not supported"
            )
        host = _host(vllm_config)
        row_bytes = hidden * vllm_config.model_config.dtype.itemsize
        count = -(-row_bytes // _token_bytes(host, vllm_config))
        self._layers = {
            maybe_prefix(prefix, f"{HIDDEN_STATES_LAYER}.layers.{layers_before + n}"): HiddenStatesLayer(host)
            for n in range(count)
        }
        vllm_config.compilation_config.static_forward_context.update(self._layers)

    def __call__(self, rows: Tensor) -> None:
        mapping = get_forward_context().slot_mapping
        if isinstance(mapping, list):
            raise TypeError("the Thinker does not support micro-batches")
        if not all(name in mapping for name in self._layers):
            return  # a profiling run
        caches = [layer.kv_cache for layer in self._layers.values()]
        write_hidden_states(caches, [mapping[name] for name in self._layers], rows)


def hidden_states_layers(names: Sequence[str]) -> list[str]:
    """The names of the cache layers among a model's layers, in the order of a row's parts."""
    found = [name for name in names if f"{HIDDEN_STATES_LAYER}.layers." in name]
    return sorted(found, key=lambda name: int(name.rpartition(".")[2]))


def write_hidden_states(caches: Sequence[Tensor], slots: Sequence[Tensor], rows: Tensor) -> None:
    """Stores `rows` [n or more, hidden]. `caches`, `slots`: one per layer; slots int [n], negative: padding.

    Padding goes to block 0, which vLLM gives to no request. Bytes are stored unchanged, so that a cache in
    8 bits can hold rows in 16.
    """
    views = [cache.view(rows.dtype) for cache in caches]
    ends = [0]
    for view in views:
        ends.append(ends[-1] + view.shape[1] * view.shape[3])
    spare = ends[-1] - rows.shape[1]
    if spare < 0:
        raise ValueError(f"a row of {rows.shape[1]} does not fit into cache pages for {ends[-1]}")
    rows = functional.pad(rows, (0, spare)) if spare else rows
    for view, slot, (start, end) in zip(views, slots, pairwise(ends), strict=True):
        _, heads, size, content = view.shape
        at = slot.clamp(min=0).to(torch.int64)
        view[at // size, :, at % size] = rows[: at.shape[0], start:end].unflatten(1, (heads, content))


def read_hidden_states(caches: Sequence[Tensor], slots: Tensor, hidden: int, dtype: torch.dtype) -> Tensor:
    """Reads rows back: `slots` int64 [layers, n] → [n, hidden] of `dtype`."""
    parts = []
    for cache, at in zip(caches, slots, strict=True):
        size = cache.shape[2]
        parts.append(cache.view(dtype)[at // size, :, at % size].flatten(1))
    return torch.cat(parts, dim=1)[:, :hidden]


def _host(vllm_config: VllmConfig) -> Attention:
    layers = get_layers_from_vllm_config(vllm_config, Attention).values()
    return next(layer for layer in layers if layer.attn_type == AttentionType.DECODER)


def _token_bytes(host: Attention, vllm_config: VllmConfig) -> int:
    """Bytes per token in a page of the host, on this rank."""
    spec = host.get_kv_cache_spec(vllm_config)
    if not isinstance(spec, AttentionSpec) or spec.tokens_per_state != 1:
        raise TypeError(f"hidden states cannot be cached beside a {type(spec).__name__}")
    spec = host.get_attn_backend().customize_spec(spec)
    return int(spec.num_heads * spec.state_content_size_bytes)
