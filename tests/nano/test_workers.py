"""Two workers end with one model, and so does one who is alone: that of a batch of all their parts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from antiphon_nano.training import weights
from antiphon_nano.workers import Worker
from tests.nano.worker_stage import BATCH, PARTS, STEPS, batch, model_and_optimizer
from tests.project.sources import ROOT


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_learn_what_one_batch_of_all_parts_teaches(workers: int, tmp_path: Path) -> None:
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if workers == 2 else []
    command = [sys.executable, *run, "-m", "tests.nano.worker_stage", str(tmp_path / "run")]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'model_executor'}", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env={**os.environ, **paths}, check=True, timeout=400)

    model, optimizer = model_and_optimizer()
    for step in range(STEPS):
        whole = torch.cat([batch(step, part) for part in range(PARTS)])
        assert len(whole) == PARTS * BATCH
        model.loss(whole).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    learned = weights(tmp_path / "run", "model")
    for name, wanted in model.state_dict().items():
        torch.testing.assert_close(learned[name], wanted)


def test_parts_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="evenly"):
        Worker(0, 3).share(4)
