"""Slots by request, as vLLM's V2 runner keeps them: no layer has a cache for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.config import VllmConfig
from vllm.forward_context import set_forward_context

from antiphon_executor.models.aria.talker import Qwen3_5OmniTalker
from antiphon_executor.models.qwen3_omni.talker import Qwen3OmniTalker
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step.request_slots import RequestSlots
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.stream_state import StreamState

BASE, SLOTS = 1_000, 8


class Runner:
    """vLLM's side of a step: requests by their index in the runner."""

    def __init__(self) -> None:
        self.requests = RequestSlots(4, slot_base=BASE, slots=SLOTS, device=torch.device("cpu"))
        self.config = VllmConfig()

    def add(self, *started: tuple[int, int]) -> None:
        """Each a request and its first token."""
        for request, token in started:
            self.requests.put(request, token)
        self.requests.upload()

    def step(self, rows: list[tuple[int, int, int]], padding: int = 0, *, captured: bool = False) -> StepRows:
        """Each row: a request, its tokens in this step, and those before it."""
        counts = [tokens for _, tokens, _ in rows] + [0] * padding
        batch: Any = SimpleNamespace(
            idx_mapping=torch.tensor([request for request, _, _ in rows]),
            query_start_loc=torch.tensor([0, *counts]).cumsum(0).to(torch.int32),
            seq_lens=torch.tensor([sum(row[1:]) for row in rows] + [0] * padding, dtype=torch.int32),
        )
        self.requests.enter(batch, slots=not captured)
        with set_forward_context({}, self.config):
            step = self.requests.rows(sum(counts))
        assert step is not None
        return step


@pytest.fixture
def runner() -> Runner:
    return Runner()


def test_the_first_token_names_the_slot_and_the_request_keeps_it(runner: Runner) -> None:
    runner.add((2, BASE + 5), (0, BASE + 3))
    opened = runner.step([(2, 3, 0), (0, 2, 0)])
    assert opened.slot.tolist() == [5, 3]
    assert opened.seq_len.tolist() == [3, 2]
    assert opened.token_request.tolist() == [0, 0, 0, 1, 1]
    assert opened.token_index.tolist() == [0, 1, 2, 0, 1]
    later = runner.step([(0, 1, 2), (2, 2, 3)])
    assert later.slot.tolist() == [3, 5]
    assert later.token_index.tolist() == [2, 3, 4]


def test_an_index_that_changes_hands_forgets(runner: Runner) -> None:
    runner.add((1, BASE + 5))
    runner.add((1, BASE + 6))
    assert runner.step([(1, 1, 9)]).slot.tolist() == [6]


def test_padding_rows_and_prompts_that_name_no_slot_belong_to_no_stream(runner: Runner) -> None:
    """vLLM's warm-up runs made-up prompts."""
    runner.add((0, BASE + 5), (1, 7), (2, BASE + SLOTS))
    rows = runner.step([(0, 1, 4), (1, 1, 4), (2, 1, 4)], padding=1)
    assert rows.slot.tolist() == [5, PADDING_SLOT, PADDING_SLOT, PADDING_SLOT]


def test_a_captured_step_touches_no_stream_and_its_replay_reads_the_next_steps_slots(runner: Runner) -> None:
    runner.add((0, BASE + 5), (1, BASE + 6))
    captured = runner.step([(0, 1, 4), (1, 1, 4)], captured=True)
    assert captured.slot.tolist() == [PADDING_SLOT, PADDING_SLOT]
    address = runner.requests._slot.data_ptr()
    assert runner.step([(1, 1, 4), (0, 1, 4)]).slot.tolist() == [6, 5]
    assert runner.requests._slot.data_ptr() == address


def test_a_profiling_run_has_no_rows(runner: Runner) -> None:
    with set_forward_context(None, runner.config):
        assert runner.requests.rows(3) is None


def test_the_layer_has_a_cache_on_the_v1_runner_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = VllmConfig()
    config.cache_config.mamba_block_size = 16
    layer = StreamState("layer", config, slot_base=BASE, slots=SLOTS)
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "0")
    assert layer.get_kv_cache_spec(config) is not None
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    assert layer.get_kv_cache_spec(config) is None


def test_each_family_has_a_model_state() -> None:
    names = [model.get_model_state_cls().__name__ for model in (Qwen3OmniTalker, Qwen3_5OmniTalker)]
    assert names == ["TalkerModelState", "HybridTalkerModelState"]
