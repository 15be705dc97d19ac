"""Ray Serve over the stand-in: `make ray` in half a minute, without vLLM."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.chaos.ray_replicas import run_replicas
from tests.chaos.verdict import broken
from tests.conformance.homes import RAY, CannotInstall
from tests.e2e.server_process import MODEL
from tests.tiny_checkpoint import write_tiny_checkpoint

pytestmark = pytest.mark.serial


def test_sessions_stay_and_a_killed_replica_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        RAY.install()
    except CannotInstall as error:
        pytest.skip(str(error))
    for name, value in {"STEP_S": "0.02", "PREFILL_S": "0", "SENTENCES": "12"}.items():
        monkeypatch.setenv(f"CHAOS_{name}", value)
    checkpoint = write_tiny_checkpoint(tmp_path)
    command = f"{sys.executable} -m tests.chaos.stand_in {checkpoint} --served-model-name {MODEL}"
    # Ray's sockets need a short path.
    with TemporaryDirectory(prefix="ray") as folder:
        assert broken(run_replicas(command, Path(folder))) == []
