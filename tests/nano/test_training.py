"""A run that is killed and resumed ends like an uninterrupted run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from antiphon_nano.judging.report import record
from antiphon_nano.training import Training, TrainingPlan, clipped_step, steps_done, weights


class Killed(Exception):
    pass


def train(path: Path, steps: int, killed_at: int | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(model.parameters())

    def step(number: int) -> Mapping[str, Tensor]:
        if number == killed_at:
            raise Killed
        loss = (model(torch.randn(8, 4)) - 1).square().mean()
        clipped_step(optimizer, loss)
        return {"loss": loss}

    plan = TrainingPlan(path, steps, rate=1e-2, warmup=5, save_every_s=0.0, log_every=5)
    Training(plan, {"model": model}, {"model": optimizer}).run(step)
    return model


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole.safetensors", 20)
    try:
        train(tmp_path / "broken.safetensors", 20, killed_at=11)
    except Killed:
        assert steps_done(tmp_path / "broken.safetensors")[:2] == (11, 20)
    resumed = train(tmp_path / "broken.safetensors", 20)
    assert whole.weight.equal(resumed.weight)
    assert weights(tmp_path / "whole.safetensors", "model")["weight"].equal(whole.weight.detach())


def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    train(tmp_path / "run.safetensors", 10)
    train(tmp_path / "run.safetensors", 10, killed_at=0)
    assert steps_done(tmp_path / "run.safetensors")[0] == 10


def test_the_rate_rises_to_its_peak_and_falls_to_its_floor() -> None:
    plan = TrainingPlan(Path("x"), 1000, rate=2e-3, warmup=100, floor=0.05)
    rates = [plan.rate_at(step) for step in range(1001)]
    assert rates[0] < 1e-4
    assert max(rates) == rates[rates.index(max(rates))] <= 2e-3
    assert 90 <= rates.index(max(rates)) <= 110
    assert abs(rates[-1] - 1e-4) < 1e-9


def test_a_report_keeps_what_other_stages_wrote(tmp_path: Path) -> None:
    record(tmp_path / "report.json", "codec", {"wer": 7.0})
    record(tmp_path / "report.json", "talker", {"wer": 9.0})
    record(tmp_path / "report.json", "codec", {"wer": 6.0})
    text = (tmp_path / "report.json").read_text()
    assert '"wer": 6.0' in text
    assert '"wer": 9.0' in text
    assert "7.0" not in text
