"""Cache size of a request, compared with published figures and with vLLM's own layout."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeTextConfig

from antiphon_executor.models.qwen3_5_omni.memory import kv_bytes_per_token
from antiphon_executor.models.qwen3_5_omni.presets import larger, published
from antiphon_executor.planning.kv_pages import CachePages, cache_pages

CONTEXT = 262_144
GiB = 1 << 30


def qwen3_omni() -> PreTrainedConfig:
    """The text model of Qwen3-Omni-30B-A3B."""
    return Qwen3OmniMoeTextConfig(num_hidden_layers=48, num_key_value_heads=4, head_dim=128, hidden_size=2048)


def test_keys_and_values_are_the_published_figures() -> None:
    hybrid = cache_pages(published().thinker_config.text_config, element_bytes=2)
    assert hybrid.kv_bytes_per_token == 20 << 10
    assert hybrid.kv_bytes_per_token * CONTEXT == 5 * GiB
    assert cache_pages(qwen3_omni(), element_bytes=2).kv_bytes_per_token == 96 << 10


def test_one_gpu_holds_what_the_models_documentation_says() -> None:
    text = published().thinker_config.text_config
    assert cache_pages(text, element_bytes=2).kv_bytes_per_token == kv_bytes_per_token(text, 2)


def test_gpus_share_heads_but_never_split_one() -> None:
    text = published().thinker_config.text_config
    kept = [cache_pages(text, element_bytes=2, gpus=gpus).kv_bytes_per_token >> 10 for gpus in (1, 2, 4, 8)]
    assert kept == [20, 10, 10, 10]


def test_a_context_without_hidden_states_takes_little_more_than_its_keys_and_values() -> None:
    pages = cache_pages(published().thinker_config.text_config, element_bytes=2, states=2)
    assert 5 * GiB < pages.request_bytes(CONTEXT) < 5.2 * GiB


def test_hidden_states_take_little_more_than_their_bytes() -> None:
    """A row of 4 KiB fills two layers' pages: a GiB of a whole context, on one GPU as on each of two."""
    text = published().thinker_config.text_config
    for gpus, kv in ((1, 5), (2, 2.5)):
        pages = cache_pages(text, element_bytes=2, gpus=gpus, states=2, row_bytes=4096)
        assert kv + 1 < pages.request_bytes(CONTEXT) / GiB < kv + 1.3


def test_a_longer_request_never_takes_less() -> None:
    pages = cache_pages(published().thinker_config.text_config, element_bytes=2, states=2, row_bytes=4096)
    taken = [pages.request_bytes(tokens) for tokens in range(1, 10_000, 97)]
    assert taken == sorted(taken)


@pytest.mark.parametrize(
    ("text", "gpus", "row_bytes", "single"),
    [
        (published().thinker_config.text_config, 1, 4096, 0),
        (published().thinker_config.text_config, 2, 4096, 0),
        (larger().thinker_config.text_config, 8, 8192, 0),
        (published().talker_config.text_config, 1, 0, 0),
        (published().talker_config.text_config, 1, 0, 1),
        (qwen3_omni(), 1, 4096, 0),
        (qwen3_omni(), 2, 4096, 0),
    ],
    ids=(
        "thinker",
        "thinker on 2",
        "larger on 8",
        "talker",
        "talker alone with a state",
        "qwen3-omni",
        "qwen3-omni on 2",
    ),
)
@pytest.mark.parametrize("tokens", [CONTEXT, 13_312, 100])
def test_pages_are_laid_out_as_vllm_does(
    text: PreTrainedConfig, gpus: int, row_bytes: int, single: int, tokens: int
) -> None:
    states = 2 if row_bytes else 1
    pages = cache_pages(
        text, element_bytes=2, gpus=gpus, states=states, row_bytes=row_bytes, single_states=single
    )
    assert pages.request_bytes(tokens) == vllms_request_bytes(pages, tokens)


def test_without_a_state_layer_all_layers_of_a_talker_share_one_group() -> None:
    """Qwen3-Omni's Talker, on a CPU and on a GPU. vLLM builds the metadata of a step for each group."""
    text = Qwen3OmniMoeTextConfig(num_hidden_layers=20, num_key_value_heads=2, head_dim=128, hidden_size=1024)
    with_state, without = (cache_pages(text, element_bytes=2, single_states=states) for states in (1, 0))
    assert [len(vllms_groups(pages, 4_096)) for pages in (with_state, without)] == [21, 1]
    assert without.token_groups == 1
    assert without.request_bytes(4_096) <= with_state.request_bytes(4_096)


def vllms_groups(pages: CachePages, tokens: int) -> list[Any]:
    from vllm.v1.core import kv_cache_utils

    groups: list[Any] = kv_cache_utils.get_kv_cache_groups(vllms_config(pages, tokens), specs(pages))
    return groups


def vllms_request_bytes(pages: CachePages, tokens: int) -> int:
    """The blocks of one request in all of vLLM's groups, times a block."""
    from vllm.v1.core import kv_cache_utils
    from vllm.v1.kv_cache_layout import KVCacheLayout

    config, groups = vllms_config(pages, tokens), vllms_groups(pages, tokens)
    block = kv_cache_utils._get_kv_cache_bytes_per_block(groups, KVCacheLayout.LBNHC)
    blocks = [
        -(-group.kv_cache_spec.max_memory_usage_bytes(config) // group.kv_cache_spec.page_size_bytes)
        for group in groups
    ]
    return sum(blocks) * block


def vllms_config(pages: CachePages, tokens: int) -> Any:
    """As much of vLLM's configuration as its cache layout reads."""
    from vllm.v1.kv_cache_layout import KVCacheLayout

    return SimpleNamespace(
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        model_config=SimpleNamespace(max_model_len=tokens),
        parallel_config=SimpleNamespace(
            decode_context_parallel_size=1, prefill_context_parallel_size=1, dcp_kv_cache_interleave_size=1
        ),
        cache_config=SimpleNamespace(
            mamba_cache_mode="align" if pages.states > 1 else "none",
            get_resolved_kv_cache_layout=lambda: KVCacheLayout.LBNHC,
        ),
        attention_config=SimpleNamespace(hisparse_config=None),
        speculative_config=None,
    )


def specs(pages: CachePages) -> dict[str, Any]:
    from vllm.v1.kv_cache_interface import FullAttentionSpec, MambaSpec

    def state(size: int) -> MambaSpec:
        return MambaSpec(
            block_size=pages.block_tokens,
            shapes=((size // 4,),),
            dtypes=(torch.float32,),
            page_size_padded=pages.page_bytes,
            mamba_cache_mode="align" if pages.states > 1 else "none",
        )

    attention = FullAttentionSpec(
        block_size=pages.block_tokens,
        num_kv_heads=1,
        head_size=pages.token_bytes // 4,
        dtype=torch.bfloat16,
    )
    found: dict[str, Any] = {f"attention.{n}": attention for n in range(pages.attention_layers)}
    found |= {f"state.{n}": state(pages.state_bytes) for n in range(pages.state_layers)}
    found |= {f"stream.{n}": state(4) for n in range(pages.single_states)}
    found |= {f"rows.{n}": attention for n in range(pages.row_layers)}
    return found
