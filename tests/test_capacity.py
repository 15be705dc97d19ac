"""Blocks that requests take of a cache, and the capacity of engines that have started."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.engine.measured_capacity import cache_capacity
from antiphon_executor.interface.capacity import CacheCapacity
from antiphon_executor.models.qwen3_5_omni.presets import published
from antiphon_executor.planning.kv_pages import cache_pages

CACHE = CacheCapacity(blocks=100, block_tokens=16, span_blocks=2, request_blocks=6)
TOKENS = st.integers(0, 10_000)


def test_a_request_takes_its_states_and_span_blocks_for_every_started_block() -> None:
    assert CACHE.blocks_for(1, 0) == 6 + 2
    assert CACHE.blocks_for(16, 0) == 6 + 2
    assert CACHE.blocks_for(16, 1) == 6 + 4


def test_choices_share_their_prompt_but_for_its_last_block() -> None:
    assert CACHE.blocks_for(40, 10, choices=3) == 3 * 6 + 2 * (2 + 3 * 2)
    alone = CacheCapacity(100, 16, 2, 6, shares_prompts=False)
    assert alone.blocks_for(40, 10, choices=3) == 3 * alone.blocks_for(40, 10)


@given(TOKENS, TOKENS, st.integers(1, 4))
def test_more_of_anything_never_takes_less(prompt: int, answer: int, choices: int) -> None:
    taken = CACHE.blocks_for(prompt, answer, choices)
    # A longer prompt may share one block more.
    assert CACHE.blocks_for(prompt + 1, answer) >= CACHE.blocks_for(prompt, answer)
    assert CACHE.blocks_for(prompt, answer + 1, choices) >= taken
    assert CACHE.blocks_for(prompt, answer, choices + 1) > taken


def vllm_config(blocks: int | None, concurrency: float | None, longest: int, block: int) -> Any:
    return SimpleNamespace(
        cache_config=SimpleNamespace(
            num_gpu_blocks=blocks, kv_cache_max_concurrency=concurrency, block_size=block
        ),
        model_config=SimpleNamespace(max_model_len=longest),
    )


@pytest.mark.parametrize("row_bytes", [0, 4096])
def test_vllms_figures_give_the_blocks_of_a_request_of_any_length(row_bytes: int) -> None:
    """The hybrid of the second family: groups of states, two states each, beside those that keep tokens."""
    pages = cache_pages(
        published().thinker_config.text_config, element_bytes=2, states=2, row_bytes=row_bytes
    )
    longest, span = 65_536, pages.block_tokens
    block_bytes = (pages.request_bytes(2 * span) - pages.request_bytes(span)) // pages.token_groups
    blocks = 3 * pages.request_bytes(longest) // block_bytes
    capacity = cache_capacity(vllm_config(blocks, 3.0, longest, span), pages.token_groups)
    assert capacity is not None
    assert capacity.blocks == blocks - 1
    for tokens in (1, span, 3 * span + 1, longest):
        assert capacity.blocks_for(tokens, 0) * block_bytes == pages.request_bytes(tokens)


def test_an_engine_without_a_cache_has_no_capacity() -> None:
    assert cache_capacity(vllm_config(None, None, 4096, 16), 1) is None
