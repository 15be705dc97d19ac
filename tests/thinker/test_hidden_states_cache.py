"""Hidden states in attention's pages: nothing is lost in any layout, and vLLM sees attention layers."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from vllm.config import KVTransferConfig, VllmConfig, set_current_vllm_config
from vllm.forward_context import set_forward_context
from vllm.model_executor.layers.attention import Attention
from vllm.v1.core.kv_cache_utils import get_kv_cache_groups
from vllm.v1.kv_cache_interface import KVCacheSpec, MambaSpec

from antiphon_executor.models.layers.hidden_states_cache import (
    HiddenStatesCache,
    HiddenStatesLayer,
    hidden_states_layers,
    read_hidden_states,
    speaks,
    write_hidden_states,
)

BLOCKS, SIZE, HEADS, CONTENT = 6, 4, 2, 8
PLACES = torch.tensor([4, 5, 6, 7, 20, 21])


def cache(order: tuple[int, ...] = (0, 1, 2, 3), dtype: torch.dtype = torch.float32) -> Tensor:
    """[blocks, heads, block_size, content], its memory in this order of those."""
    shape = (BLOCKS, HEADS, SIZE, CONTENT)
    memory = torch.zeros(tuple(shape[dim] for dim in order), dtype=dtype)
    return memory.permute(tuple(order.index(dim) for dim in range(4)))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 3)], ids=("BHNC", "BNHC", "HBNC"))
@pytest.mark.parametrize("hidden", [16, 32, 40, 7])
def test_rows_come_back_in_every_layout(order: tuple[int, ...], hidden: int) -> None:
    caches = [cache(order) for _ in range(-(-hidden // (HEADS * CONTENT)))]
    rows = torch.randn(len(PLACES), hidden)
    write_hidden_states(caches, [PLACES] * len(caches), rows)
    back = read_hidden_states(caches, PLACES.expand(len(caches), -1), hidden, rows.dtype)
    assert torch.equal(back, rows)


def test_a_cache_in_eight_bits_keeps_rows_in_sixteen() -> None:
    caches = [cache(dtype=torch.uint8) for _ in range(2)]
    rows = torch.randn(len(PLACES), 16).to(torch.bfloat16)
    write_hidden_states(caches, [PLACES] * 2, rows)
    assert torch.equal(read_hidden_states(caches, PLACES.expand(2, -1), 16, torch.bfloat16), rows)


def test_layers_in_different_groups_have_slots_of_their_own() -> None:
    caches, slots = [cache(), cache()], torch.stack([PLACES, PLACES.flip(0)])
    rows = torch.randn(len(PLACES), 32)
    write_hidden_states(caches, list(slots), rows)
    assert torch.equal(read_hidden_states(caches, slots, 32, rows.dtype), rows)


def test_padding_touches_no_block_that_a_request_could_have() -> None:
    """Given three tokens of which two are padding, and rows padded further, then block 0 takes the rest."""
    (one,) = caches = [cache()]
    write_hidden_states(caches, [torch.tensor([9, -1, -1])], torch.ones(8, 16))
    assert one[2, :, 1].eq(1).all()
    assert one[1:].sum() == 16


def test_a_row_is_never_cut() -> None:
    with pytest.raises(ValueError, match="a row of 17 does not fit into cache pages for 16"):
        write_hidden_states([cache()], [PLACES], torch.zeros(len(PLACES), 17))


def test_parts_are_in_the_order_of_their_layers() -> None:
    names = ["hidden_states.layers.10", "model.layers.0.attn", "hidden_states.layers.9"]
    assert hidden_states_layers(names) == ["hidden_states.layers.9", "hidden_states.layers.10"]


HIDDEN, ATTENTION, STATES = 250, 3, 9


@pytest.fixture
def config() -> Iterator[VllmConfig]:
    """Three attention layers of two heads of 32: 128 elements a token in each."""
    config = VllmConfig()
    model: Any = SimpleNamespace(
        dtype=torch.bfloat16, is_mm_prefix_lm=False, rswa_window=None, max_model_len=1024, is_hybrid=True
    )
    config.model_config = model
    config.cache_config.kv_cache_layout = "LBHNC"
    with set_current_vllm_config(config):
        for n in range(ATTENTION):
            Attention(
                4, 32, 1.0, num_kv_heads=2, cache_config=config.cache_config, prefix=f"model.layers.{n}.attn"
            )
        yield config


def test_rows_join_the_group_of_attention(config: VllmConfig) -> None:
    """Given rows of two pages beside nine state layers, then all of attention and rows is one group."""
    HiddenStatesCache(config, HIDDEN, ATTENTION, "thinker")
    layers = config.compilation_config.static_forward_context
    specs: dict[str, KVCacheSpec] = {name: layer.get_kv_cache_spec(config) for name, layer in layers.items()}
    page = specs["model.layers.0.attn"].page_size_bytes
    state = MambaSpec(block_size=16, shapes=((4,),), dtypes=(torch.float32,), page_size_padded=page)
    specs |= {f"state.layers.{n}": state for n in range(STATES)}
    groups = get_kv_cache_groups(config, specs)
    assert groups[0].layer_names == [
        *(f"model.layers.{n}.attn" for n in range(ATTENTION)),
        "thinker.hidden_states.layers.3",
        "thinker.hidden_states.layers.4",
    ]
    assert len(groups) == 1 + 2


def test_the_runner_builds_metadata_once_for_attention_and_rows(config: VllmConfig) -> None:
    """vLLM's runners split a group by backend, spec and query heads: these are attention's own."""
    HiddenStatesCache(config, HIDDEN, ATTENTION, "")
    layers = config.compilation_config.static_forward_context.values()
    kinds = {
        (layer.get_attn_backend(), layer.get_kv_cache_spec(config), layer.num_heads, layer.impl.num_heads)
        for layer in layers
    }
    assert len(kinds) == 1
    assert sum(isinstance(layer, HiddenStatesLayer) for layer in layers) == 2


def test_a_step_keeps_its_rows_and_a_profiling_run_none(config: VllmConfig) -> None:
    rows_cache = HiddenStatesCache(config, HIDDEN, ATTENTION, "")
    layers = config.compilation_config.static_forward_context
    names = hidden_states_layers(list(layers))
    caches = [torch.zeros(BLOCKS, 2, SIZE, 64, dtype=torch.bfloat16) for _ in names]
    for name, pages in zip(names, caches, strict=True):
        layers[name].bind_kv_cache(pages)
    rows = torch.randn(len(PLACES), HIDDEN).to(torch.bfloat16)
    with set_forward_context(None, config):
        rows_cache(rows)
    assert not any(pages.any() for pages in caches)
    with set_forward_context(None, config, slot_mapping=dict.fromkeys(names, PLACES)):
        rows_cache(rows)
    assert torch.equal(read_hidden_states(caches, PLACES.expand(2, -1), HIDDEN, rows.dtype), rows)


def test_a_pipeline_is_refused(config: VllmConfig) -> None:
    config.parallel_config.pipeline_parallel_size = 2
    with pytest.raises(ValueError, match="pipeline parallelism is not supported"):
        HiddenStatesCache(config, HIDDEN, ATTENTION, "")


def test_without_a_talker_nothing_reads_the_rows(config: VllmConfig) -> None:
    assert not speaks(config)
    config.kv_transfer_config = KVTransferConfig(kv_connector="HiddenStatesConnector", kv_role="kv_producer")
    assert speaks(config)
