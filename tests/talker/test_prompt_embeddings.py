"""Prompt embeddings return exactly the rows that a slot stored, and never another slot's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_executor.models.talker.prompt_embeddings import (
    PAGE_ROWS,
    PromptEmbeddings,
    PromptEmbeddingsFull,
    pages_for,
)

HIDDEN = 4
SLOTS = 5


def new_pool(rows: int = 10 * PAGE_ROWS) -> PromptEmbeddings:
    return PromptEmbeddings(SLOTS, rows, HIDDEN, dtype=torch.float32, device=torch.device("cpu"))


def gather_all(pool: PromptEmbeddings, slot: int, rows: int) -> torch.Tensor:
    index = torch.arange(rows)
    return pool.gather(torch.full_like(index, slot), index)


@given(
    steps=st.lists(st.tuples(st.integers(1, SLOTS - 1), st.integers(1, 3 * PAGE_ROWS)), max_size=12),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_given_any_order_of_opens_and_closes_then_every_slot_reads_its_own_rows(
    steps: list[tuple[int, int]], seed: int
) -> None:
    torch.manual_seed(seed)
    pool, stored = new_pool(), {}
    for slot, count in steps:
        pool.release(slot)
        stored.pop(slot, None)
        rows = torch.randn(count, HIDDEN)
        try:
            pool.store(slot, rows)
        except PromptEmbeddingsFull:
            continue
        stored[slot] = rows
        for known, expected in stored.items():
            assert torch.equal(gather_all(pool, known, len(expected)), expected)


def test_given_a_full_arena_then_a_store_is_refused_and_leaves_nothing_behind() -> None:
    pool = new_pool(rows=2 * PAGE_ROWS)
    pool.store(1, torch.ones(PAGE_ROWS + 1, HIDDEN))
    with pytest.raises(PromptEmbeddingsFull, match="free"):
        pool.store(2, torch.ones(1, HIDDEN))
    pool.release(1)
    assert pool.free_rows == 2 * PAGE_ROWS
    pool.store(2, torch.ones(2 * PAGE_ROWS, HIDDEN))


def test_given_a_released_slot_then_its_rows_are_gone() -> None:
    pool = new_pool()
    pool.store(1, torch.ones(3, HIDDEN))
    pool.release(1)
    assert gather_all(pool, 1, 3).abs().sum() == 0
    pool.store(2, torch.full((1, HIDDEN), 2.0))
    assert gather_all(pool, 2, PAGE_ROWS)[1:].abs().sum() == 0


def test_pages_for_counts_started_pages() -> None:
    assert [pages_for(n) for n in (0, 1, PAGE_ROWS, PAGE_ROWS + 1)] == [0, 1, 1, 2]
