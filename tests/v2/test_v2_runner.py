"""A Talker on vLLM's V2 model runner, which CUDA gets, speaks as on V1. `make test-v2` tests all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

TESTS = (
    "tests/v2/on_v2.py::test_both_engines_run_on_the_v2_model_runner",
    "tests/parity/talker/test_talker.py::test_given_one_stream_then_codes_and_waveform_are_those_of_transformers",
)


def test_a_stream_on_the_v2_model_runner_is_that_of_transformers() -> None:
    """In a process of its own, in which Triton's kernels are interpreted."""
    places = (str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(place for place in places if place)},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4_000:]
    assert "2 passed" in ran.stdout
