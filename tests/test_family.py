"""A checkpoint's `config.json` identifies its family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antiphon_executor.checkpoint.family import (
    FAMILIES,
    QWEN3_5_OMNI,
    QWEN3_OMNI,
    UnknownFamily,
    read_config,
    read_family,
)
from antiphon_server.process.checkpoint_kind import SUPPORTED_ARCHITECTURES
from tests.checkpoints import tiny_qwen3_5_omni, tiny_qwen3_omni  # noqa: F401


def test_given_a_checkpoint_then_its_config_is_of_its_familys_class(
    tiny_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_5_omni: Path,  # noqa: F811
) -> None:
    for folder, family in ((tiny_qwen3_omni, QWEN3_OMNI), (tiny_qwen3_5_omni, QWEN3_5_OMNI)):
        assert read_family(folder) is family
        assert type(read_config(folder)) is family.config


def test_given_another_model_then_the_error_names_the_supported_families(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whale"}))
    with pytest.raises(UnknownFamily, match="'whale'; supported: qwen3_omni_moe, qwen3_5_omni_moe"):
        read_config(tmp_path)


def test_the_server_accepts_the_families_that_the_engine_serves() -> None:
    assert set(SUPPORTED_ARCHITECTURES) == {family.architecture for family in FAMILIES}


def test_a_checkpoint_names_the_architecture_of_its_family(tiny_qwen3_5_omni: Path) -> None:  # noqa: F811
    config = json.loads((tiny_qwen3_5_omni / "config.json").read_text())
    assert config["architectures"] == [read_family(tiny_qwen3_5_omni).architecture]
