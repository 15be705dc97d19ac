"""A small stage for one or two workers: `python -m tests.nano.worker_stage CHECKPOINT`."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from antiphon_nano.training import Training, TrainingPlan, gradient_step
from antiphon_nano.workers.worker import Worker

STEPS, PARTS, BATCH = 4, 2, 6


class Model(nn.Module):
    """Only part 1 of a step uses the layer `late`."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = nn.Linear(3, 3), nn.Linear(3, 3)

    def loss(self, batch: Tensor) -> Tensor:
        """Mean over the rows. A row with a positive first number passes both layers."""
        passes = batch[:, 0] > 0
        rows = self.early(batch)
        total = (rows[~passes] - 1).square().sum()
        if passes.any():
            total = total + (self.late(rows[passes]) + 1).square().sum()
        return total / batch.numel()


def batch(step: int, part: int) -> Tensor:
    """[BATCH, 3], the first column negative of part 0, positive of part 1."""
    rows = torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(10 * step + part))
    rows[:, 0] = rows[:, 0].abs() * (1 if part else -1)
    return rows


def model_and_optimizer() -> tuple[Model, torch.optim.AdamW]:
    torch.manual_seed(3)
    model = Model()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--killed-rank", type=int, help="the worker that is killed in the last step")
    arguments = parser.parse_args()
    worker = Worker.joined()
    model, optimizer = model_and_optimizer()

    def step(number: int) -> Mapping[str, Tensor]:
        parts = worker.share(PARTS)
        loss = torch.stack([model.loss(batch(number, part)) for part in parts]).mean()
        loss.backward()
        if number == STEPS - 1 and worker.rank == arguments.killed_rank:
            os.kill(os.getpid(), signal.SIGKILL)
        gradient_step(optimizer, worker=worker)
        return {"loss": loss}

    # A constant rate, so that the reference needs no schedule.
    plan = TrainingPlan(arguments.checkpoint, STEPS, rate=1e-2, warmup=1, floor=1.0)
    Training(plan, {"model": model}, {"model": optimizer}, worker).run(step)


if __name__ == "__main__":
    main()
