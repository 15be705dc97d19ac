"""Hosted slots: kept by the state blocks of another layer, without a cache of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.config import VllmConfig
from vllm.forward_context import set_forward_context

from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.stream_state import HostedStreamState

HOST, BASE, SLOTS = "model.layers.0.linear_attn", 1000, 8


class Worker:
    """vLLM's side of a step."""

    def __init__(self) -> None:
        self.config = VllmConfig()
        self.state = HostedStreamState("state", self.config, slot_base=BASE, slots=SLOTS, host=HOST)
        self.bind(blocks=3)

    def bind(self, blocks: int) -> None:
        host: Any = SimpleNamespace(kv_cache=[torch.zeros(blocks, 4)])
        self.config.compilation_config.static_forward_context[HOST] = host

    def step(self, requests: list[tuple[int, list[int], int]], padding: int = 0) -> StepRows:
        """Each request: its state's block, its tokens, how many came before. `padding`: requests of none."""
        ids = [token for _, tokens, _ in requests for token in tokens]
        places = [before + n for _, tokens, before in requests for n in range(len(tokens))]
        bounds = torch.tensor([0, *(len(tokens) for _, tokens, _ in requests), *[0] * padding]).cumsum(0)
        meta: Any = SimpleNamespace(
            non_spec_query_start_loc=bounds.to(torch.int32),
            non_spec_state_indices_tensor=torch.tensor(
                [block for block, _, _ in requests] + [-1] * padding, dtype=torch.int32
            ),
            num_decodes=padding,
            num_prefills=len(requests),
        )
        with set_forward_context({HOST: meta}, self.config):
            rows = self.state(torch.tensor(ids), torch.tensor(places))
        assert rows is not None
        return rows


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_it_asks_for_no_cache(worker: Worker) -> None:
    assert worker.state.get_kv_cache_spec(worker.config) is None


def test_the_first_token_names_the_slot_and_the_block_keeps_it(worker: Worker) -> None:
    opened = worker.step([(2, [BASE + 5, 1, 2], 0), (1, [BASE + 3, 1], 0)])
    assert opened.slot.tolist() == [5, 3]
    assert opened.token_request.tolist() == [0, 0, 0, 1, 1]
    later = worker.step([(1, [7], 2), (2, [8, 9], 3)])
    assert later.slot.tolist() == [3, 5]
    assert later.token_index.tolist() == [2, 3, 4]


def test_a_block_that_changes_hands_forgets(worker: Worker) -> None:
    worker.step([(2, [BASE + 5], 0)])
    worker.step([(2, [BASE + 6], 0)])
    assert worker.step([(2, [1], 1)]).slot.tolist() == [6]


def test_padding_rows_belong_to_no_stream(worker: Worker) -> None:
    worker.step([(2, [BASE + 5], 0)])
    assert worker.step([(2, [1], 1)], padding=2).slot.tolist() == [5, PADDING_SLOT, PADDING_SLOT]


def test_a_larger_cache_that_follows_a_small_one_has_slots_for_all_its_blocks(worker: Worker) -> None:
    """vLLM measures CUDA graphs on a cache of a few blocks, and binds the real one afterwards."""
    worker.step([(2, [BASE + 5], 0)])
    worker.bind(blocks=100)
    worker.step([(99, [BASE + 4], 0)])
    assert worker.step([(99, [1], 1)]).slot.tolist() == [4]


def test_a_profiling_run_has_no_rows(worker: Worker) -> None:
    with set_forward_context(None, worker.config):
        assert worker.state(torch.tensor([1]), torch.tensor([0])) is None
