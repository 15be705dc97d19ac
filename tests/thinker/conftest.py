"""What the tests of the Thinker's scheduler share."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.tiny import write_tiny_checkpoint


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Qwen3.5-Omni, which no test changes."""
    path = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(path, "qwen3_5_omni")
    return path
