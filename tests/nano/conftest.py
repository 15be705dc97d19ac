"""An exported checkpoint with random weights, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_nano.checkpoint.export import export
from tests.nano.stages import write_stages


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of all stages."""
    return write_stages(tmp_path_factory.mktemp("nano"))


@pytest.fixture(scope="session")
def exported(stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint's folder."""
    destination = tmp_path_factory.mktemp("exported") / "antiphon-nano"
    export(stages, destination)
    return destination
