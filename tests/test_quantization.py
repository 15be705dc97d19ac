"""Quantized Thinkers: what travels to vLLM, and what a CPU is refused before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from vllm.engine.arg_utils import AsyncEngineArgs

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.quantization import has_quantized_experts, thinker_quantization
from antiphon_executor.engine import cpu_quantization, dtype_selection
from antiphon_executor.engine.cpu_quantization import check_cpu_quantization
from antiphon_executor.engine.dtype_selection import with_cpu_dtypes
from antiphon_executor.engine.talker_factory import with_speech_of
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings, ThinkerSettings
from antiphon_executor.stages.thinker_args import thinker_engine_args
from antiphon_executor.tiny import write_tiny_checkpoint
from tests.quantized_checkpoint import CONFIG, write_quantized


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantization")
    write_tiny_checkpoint(folder / "captioner", variant="captioner")
    write_quantized(folder / "captioner", folder / "packed", folder / "rounded")
    return folder / "packed"


def move_quantization(model: Path, target: Path, owner: str) -> EngineSettings:
    """A folder whose config has its quantization in `owner`."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).symlink_to(file)
    config = json.loads((model / "config.json").read_text())
    config[owner]["quantization_config"] = config.pop("quantization_config")
    (target / "config.json").unlink()
    (target / "config.json").write_text(json.dumps(config))
    return EngineSettings(model=target)


def test_the_quantization_of_the_whole_checkpoint_travels(captioner: Path) -> None:
    found = thinker_quantization(read_config(captioner))
    assert found is not None
    assert found["quant_method"] == "compressed-tensors"
    assert found["ignore"] == CONFIG["ignore"]


def test_the_quantization_of_the_thinker_alone_travels_too(captioner: Path, tmp_path: Path) -> None:
    settings = move_quantization(captioner, tmp_path / "nested", "thinker_config")
    arguments: AsyncEngineArgs = thinker_engine_args(settings, None)
    overrides: Any = arguments.hf_overrides
    assert overrides["quantization_config"]["quant_method"] == "compressed-tensors"


def test_an_ordinary_checkpoint_has_none(captioner: Path) -> None:
    rounded = captioner.parent / "rounded"
    assert thinker_quantization(read_config(rounded)) is None
    overrides: Any = thinker_engine_args(EngineSettings(model=rounded), None).hf_overrides
    assert "quantization_config" not in overrides


def test_fp8_needs_amx_on_a_cpu(captioner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, config = EngineSettings(model=captioner), read_config(captioner)
    config.quantization_config = {"quant_method": "fp8"}
    monkeypatch.setattr(cpu_quantization, "is_x86", lambda: True)
    monkeypatch.setattr(cpu_quantization, "has_amx", lambda: False)
    with pytest.raises(OperatorError, match="FP8: on a CPU they need AMX, and this one has none"):
        check_cpu_quantization(settings, config)
    monkeypatch.setattr(cpu_quantization, "has_amx", lambda: True)
    check_cpu_quantization(settings, config)


def test_quantized_experts_need_amx_on_a_cpu(
    captioner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_quantization, "is_x86", lambda: True)
    monkeypatch.setattr(cpu_quantization, "has_amx", lambda: False)
    check_cpu_quantization(EngineSettings(model=captioner), read_config(captioner))
    assert not has_quantized_experts(captioner)
    weights = load_file(captioner / "model.safetensors")
    weights["thinker.model.layers.0.mlp.experts.0.up_proj.weight_packed"] = torch.zeros(1)
    save_file(weights, tmp_path / "model.safetensors")
    assert has_quantized_experts(tmp_path)
    with pytest.raises(OperatorError, match="experts are quantized \\(compressed-tensors\\): on a CPU"):
        check_cpu_quantization(EngineSettings(model=tmp_path), read_config(captioner))


def test_quantized_weights_compute_in_16_bits_on_a_cpu(
    captioner: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(captioner)
    monkeypatch.setattr(dtype_selection, "has_fast_bfloat16", lambda: False)
    assert with_cpu_dtypes(EngineSettings(model=captioner), config).thinker.dtype == "bfloat16"
    asked = EngineSettings(model=captioner, thinker=ThinkerSettings(dtype="float32"))
    with pytest.raises(OperatorError, match="on a CPU they compute in 16 bits"):
        check_cpu_quantization(asked, config)


def test_a_checkpoint_without_a_talker_has_no_speech(captioner: Path) -> None:
    config = read_config(captioner)
    assert not with_speech_of(EngineSettings(model=captioner), config).speech
    with pytest.raises(OperatorError, match="this checkpoint has no Talker, so it has no voices"):
        with_speech_of(EngineSettings(model=captioner, voices=captioner), config)
