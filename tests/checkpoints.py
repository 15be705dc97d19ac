"""Checkpoints that tests load, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.tiny import write_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_qwen3_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Qwen3-Omni checkpoint, seed 0."""
    path = tmp_path_factory.mktemp("tiny_qwen3_omni")
    write_tiny_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def released_qwen3_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in the files of the released Qwen3-Omni-30B-A3B-Instruct."""
    path = tmp_path_factory.mktemp("released_qwen3_omni")
    write_tiny_checkpoint(path, layout="released")
    return path


@pytest.fixture(scope="session")
def tiny_qwen3_5_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny Qwen3.5-Omni checkpoint, seed 0."""
    path = tmp_path_factory.mktemp("tiny_qwen3_5_omni")
    write_tiny_checkpoint(path, "qwen3_5_omni")
    return path
