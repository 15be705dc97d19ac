"""On a CPU, a draw for an incomplete prompt does not change its generator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm.v1.worker.cpu_model_runner import CPUModelRunner

from antiphon_executor.stages.cpu_worker import SeededRunner


def runner_with(incomplete: list[bool], generators: dict[int, torch.Generator]) -> SeededRunner:
    runner = SeededRunner.__new__(SeededRunner)
    runner.input_batch = SimpleNamespace(generators=generators, num_reqs=len(incomplete))  # type: ignore[assignment]
    runner.discard_request_mask = SimpleNamespace(np=np.array([*incomplete, True]))  # type: ignore[assignment]
    return runner


def test_only_draws_that_are_kept_move_a_seed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: Any, *_: Any) -> str:
        for generator in self.input_batch.generators.values():
            torch.rand(4, generator=generator)
        return "drawn"

    monkeypatch.setattr(CPUModelRunner, "_sample", draw)
    generators = {row: torch.Generator().manual_seed(5) for row in (0, 2)}
    runner = runner_with([True, True, False], generators)
    for _ in range(3):
        assert runner._sample(None, None) == "drawn"
    fresh, moved = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    torch.rand(4, generator=moved), torch.rand(4, generator=moved), torch.rand(4, generator=moved)
    assert torch.equal(generators[0].get_state(), fresh.get_state())
    assert torch.equal(generators[2].get_state(), moved.get_state())


def test_vllm_does_not_turn_back_what_a_cpu_generator_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """`CPU Generator does not use offset` ended the engine's process."""
    seen: list[dict[int, torch.Generator]] = []
    monkeypatch.setattr(
        CPUModelRunner, "_bookkeeping_sync", lambda self, *_: seen.append(dict(self.input_batch.generators))
    )
    generators = {0: torch.Generator().manual_seed(5)}
    with pytest.raises(RuntimeError, match="offset"):
        generators[0].get_offset()
    runner = runner_with([True], generators)
    runner._bookkeeping_sync()
    assert seen == [{}]
    assert runner.input_batch.generators is generators
