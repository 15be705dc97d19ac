"""Several prompts with video at a time, on a simulated clock: no step encodes for as long as a second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.v1.request import Request

from tests.thinker.thinker_rig import TEXT, Rig

# A window of two frames of 720p on a CPU, and a step for itself and for each token.
WINDOW, WINDOW_S = 880, 0.5
STEP_S, TOKEN_S = 0.006, 3e-4
VIDEO = 8


class Machine:
    """The Thinker's rig, whose steps take time for tokens and for windows."""

    def __init__(self, model: Path) -> None:
        self.now_s = 100.0
        self.rig = Rig.of(model, self._ran)
        self.steps: list[float] = []

    def add(self, windows: int, tokens: int = WINDOW) -> Request:
        name, prompt, features = len(self.rig.scheduler.requests), [TEXT] * 11, []
        for window in range(windows):
            place = PlaceholderRange(offset=len(prompt), length=tokens)
            features.append(MultiModalFeatureSpec(None, "video", f"{name}-{window}", place))
            prompt += [VIDEO] * tokens
        return self.rig.add([*prompt, TEXT], features)

    def run(self) -> None:
        while self.rig.scheduler.requests:
            self.rig.step()

    def _ran(self, tokens: int, _: int) -> None:
        output, requests = self.rig.output, self.rig.scheduler.requests
        assert output is not None
        encoded = sum(
            requests[name].mm_features[item].mm_position.length
            for name, items in output.scheduled_encoder_inputs.items()
            for item in items
        )
        self.steps.append(STEP_S + tokens * TOKEN_S + encoded * WINDOW_S / WINDOW)
        self.now_s += self.steps[-1]


@pytest.fixture
def machine(model: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(model)
    monkeypatch.setattr(time, "monotonic", lambda: machine.now_s)
    return machine


@pytest.mark.parametrize("prompts", [1, 2, 3])
def test_no_step_encodes_longer_than_a_second(machine: Machine, prompts: int) -> None:
    """Each of several prompts encoded a window in the same step."""
    for _ in range(prompts):
        machine.add(6)
    machine.run()
    assert max(machine.steps) < 1.0


def test_a_picture_that_takes_longer_than_a_step_does_not_wait_for_ever(machine: Machine) -> None:
    """Its neighbour has small pictures, of which each step encodes some."""
    small, large = machine.add(60, 64), machine.add(1, 4_000)
    while large.num_computed_tokens <= 11:
        machine.rig.step()
        assert small.num_computed_tokens < 1_500
    machine.run()
