"""A checkpoint whose configuration and weights contradict each other: one line before anything is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.process.checkpoint_config import required_tensors
from antiphon_server.process.preflight import check_checkpoint
from antiphon_server.process.weight_files import INDEX, check_weights
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni, tiny_qwen3_omni  # noqa: F401

pytestmark = pytest.mark.promise("R27")

LAST_SHARD = "model-00004-of-00004.safetensors"


@pytest.fixture
def folder(released_qwen3_omni: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A checkpoint in the released layout, to change."""
    return shutil.copytree(released_qwen3_omni, tmp_path / "released")


def problem_of(folder: Path, code: ExitCode = ExitCode.NOT_A_CHECKPOINT) -> str:
    with pytest.raises(StartupError) as raised:
        check_checkpoint(folder, speaks=True)
    assert raised.value.code == code
    said = str(raised.value)
    assert len(said.splitlines()) <= 2
    return said


def change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def rename_tensor(folder: Path, old: str, new: str | None) -> None:
    """Renames a tensor in its shard and in the index; None removes it."""
    index = json.loads((folder / INDEX).read_text())
    file = index["weight_map"].pop(old)
    tensors = load_file(folder / file)
    tensor = tensors.pop(old)
    if new is not None:
        tensors[new], index["weight_map"][new] = tensor, file
    save_file(tensors, folder / file)
    (folder / INDEX).write_text(json.dumps(index))


def test_complete_checkpoints_of_both_layouts_and_families_pass(
    released_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_5_omni: Path,  # noqa: F811
) -> None:
    for whole in (released_qwen3_omni, tiny_qwen3_omni, tiny_qwen3_5_omni, ANTIPHON_NANO):
        check_checkpoint(whole, speaks=True)
        check_checkpoint(whole, speaks=False)


def test_tables_and_layers_of_every_part_are_required(released_qwen3_omni: Path) -> None:  # noqa: F811
    config = json.loads((released_qwen3_omni / "config.json").read_text())
    required = set(required_tensors(config, speaks=True))
    assert "talker.code_predictor.model.codec_embedding.14.weight" in required
    assert "thinker.model.layers.3.input_layernorm.weight" in required
    assert not any(name.startswith(("talker", "code2wav")) for name in required_tensors(config, speaks=False))


def test_sizes_that_the_config_leaves_to_its_class_require_nothing(folder: Path) -> None:
    def leave(config: dict[str, Any]) -> None:
        del config["thinker_config"]["text_config"]["num_hidden_layers"]
        del config["talker_config"]["num_code_groups"]

    change_config(folder, leave)
    check_checkpoint(folder, speaks=True)


def test_the_released_layout_spreads_the_vocoder_over_shards(released_qwen3_omni: Path) -> None:  # noqa: F811
    files = json.loads((released_qwen3_omni / INDEX).read_text())["weight_map"]
    assert len(set(files.values())) == 4
    assert len({file for name, file in files.items() if name.startswith("code2wav.")}) == 2
    assert check_weights(released_qwen3_omni, ("thinker", "talker", "code2wav")) == files.keys()


def test_a_missing_shard_is_named_with_and_without_the_index(folder: Path) -> None:
    (folder / LAST_SHARD).unlink()
    assert f"1 of its 4 files are missing, {LAST_SHARD} first" in problem_of(folder)
    (folder / INDEX).unlink()
    assert f"1 of its 4 shards are missing, {LAST_SHARD} first" in problem_of(folder)


@pytest.mark.parametrize(
    "name",
    [
        "talker.model.codec_embedding.weight",
        "talker.code_predictor.model.codec_embedding.14.weight",
        "talker.code_predictor.lm_head.0.weight",
        "talker.text_projection.linear_fc2.weight",
        "code2wav.code_embedding.weight",
        "thinker.model.embed_tokens.weight",
        "talker.model.layers.2.input_layernorm.weight",
    ],
)
def test_a_missing_table_is_named(folder: Path, name: str) -> None:
    rename_tensor(folder, name, None)
    assert f"1 tensors that config.json requires are missing, {name} first" in problem_of(folder)


@pytest.mark.parametrize("layer", [5, -1, "middle", True])
def test_an_accepted_layer_beyond_the_thinker_is_rejected(folder: Path, layer: object) -> None:
    change_config(folder, lambda config: config["talker_config"].update(accept_hidden_layer=layer))
    said = problem_of(folder)
    assert f"accept_hidden_layer is {layer!r}, but the Thinker has 4 layers" in said
    check_checkpoint(folder, speaks=False)


@pytest.mark.parametrize("part", [None, "text_config", "code_predictor_config"])
def test_a_quantization_config_of_the_talker_is_rejected(folder: Path, part: str | None) -> None:
    def quantize(config: dict[str, Any]) -> None:
        owner = config["talker_config"]
        (owner if part is None else owner[part])["quantization_config"] = {"quant_method": "awq"}

    change_config(folder, quantize)
    said = problem_of(folder, ExitCode.UNSUPPORTED_MODEL)
    assert "talker_config has a quantization_config; only the Thinker may be quantized" in said
    check_checkpoint(folder, speaks=False)


def test_a_quantization_config_of_the_vocoder_is_rejected(folder: Path) -> None:
    change_config(folder, lambda config: config["code2wav_config"].update(quantization_config={"bits": 4}))
    said = problem_of(folder, ExitCode.UNSUPPORTED_MODEL)
    assert "code2wav_config has a quantization_config; only the Thinker may be quantized" in said


@pytest.mark.parametrize("value", [None, {}])
def test_a_talker_without_a_configuration_is_rejected(folder: Path, value: object) -> None:
    change_config(folder, lambda config: config.update(talker_config=value))
    assert "config.json has no talker_config, and enable_audio_output is not false" in problem_of(folder)
    change_config(folder, lambda config: config.update(enable_audio_output=False))
    check_checkpoint(folder, speaks=True)


def test_quantized_tensors_of_the_talker_are_rejected(folder: Path) -> None:
    name = "talker.model.layers.0.self_attn.q_proj"
    rename_tensor(folder, f"{name}.weight", f"{name}.qweight")
    assert f"{name}.qweight is in a quantized format" in problem_of(folder, ExitCode.UNSUPPORTED_MODEL)
    check_checkpoint(folder, speaks=False)
