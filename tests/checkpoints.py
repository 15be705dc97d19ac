"""Checkpoints that tests load, written once for all processes of a session."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon_executor.tiny import write_tiny_checkpoint


def written_once(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], object]) -> Path:
    """The folder that `write` has filled in the first process of the session that asks for it."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            partly = folder / f"{name}.part"
            write(partly)
            partly.rename(path)
    return path


@pytest.fixture(scope="session")
def tiny_qwen3_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Qwen3-Omni checkpoint, seed 0."""
    return written_once(tmp_path_factory, "tiny_qwen3_omni", write_tiny_checkpoint)


@pytest.fixture(scope="session")
def released_qwen3_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in the files of the released Qwen3-Omni-30B-A3B-Instruct."""
    return written_once(
        tmp_path_factory, "released_qwen3_omni", lambda path: write_tiny_checkpoint(path, layout="released")
    )


@pytest.fixture(scope="session")
def tiny_qwen3_5_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Qwen3.5-Omni checkpoint, seed 0."""
    return written_once(
        tmp_path_factory, "tiny_qwen3_5_omni", lambda path: write_tiny_checkpoint(path, "qwen3_5_omni")
    )
