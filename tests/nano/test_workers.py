"""Two workers end with one model: that of a single worker who was given both their batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from antiphon_nano.training import weights
from tests.nano.worker_stage import BATCH, STEPS, batch, model_and_optimizer
from tests.project.sources import ROOT


def test_two_workers_learn_what_one_would_of_both_batches(tmp_path: Path) -> None:
    stage = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*stage, "-m", "tests.nano.worker_stage", str(tmp_path / "run")]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'model_executor'}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env={**os.environ, **paths}, check=True, timeout=400)

    model, optimizer = model_and_optimizer()
    for step in range(STEPS):
        both = torch.cat([batch(step, rank) for rank in (0, 1)])
        assert len(both) == 2 * BATCH
        model.loss(both).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    learned = weights(tmp_path / "run", "model")
    for name, wanted in model.state_dict().items():
        torch.testing.assert_close(learned[name], wanted)
