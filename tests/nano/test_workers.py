"""Several workers train the same model as one worker with all parts, or fail together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from antiphon_nano.training import weights
from antiphon_nano.workers.start import GROUP_VARIABLE
from antiphon_nano.workers.worker import Worker
from tests.nano.worker_stage import BATCH, PARTS, STEPS, batch, model_and_optimizer
from tests.project.sources import ROOT

PROCESSES_LIMIT_S = 420
"""Starting two processes that import torch takes 15 s on two idle cores, minutes on busy ones."""


def train(checkpoint: Path, workers: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the stage in `workers` processes."""
    start = ["-m", "antiphon_nano.workers.start", str(workers)] if workers > 1 else ["-m"]
    command = [sys.executable, *start, "tests.nano.worker_stage", str(checkpoint), *arguments]
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'model_executor'}", "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != GROUP_VARIABLE}
    return subprocess.run(
        command,
        env={**environment, **paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=PROCESSES_LIMIT_S - 20,
    )


@pytest.mark.timeout(PROCESSES_LIMIT_S)
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_equal_one_worker_with_all_parts(workers: int, tmp_path: Path) -> None:
    done = train(tmp_path / "run", workers)
    assert done.returncode == 0, done.stderr

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


@pytest.mark.timeout(PROCESSES_LIMIT_S)
def test_workers_fail_together(tmp_path: Path) -> None:
    done = train(tmp_path / "run", 2, "--killed-rank", "1")
    assert done.returncode == 1
    assert "worker 1 ended with exit status -9" in done.stderr
    assert "WorkerLost: another worker of this stage has ended" in done.stderr
    assert not (tmp_path / "run").exists()


def test_parts_that_cannot_be_shared_evenly_are_refused() -> None:
    with pytest.raises(ValueError, match="evenly"):
        Worker(0, 3).share(4)
