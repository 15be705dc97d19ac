"""What a checkpoint's config says, and the formats that are refused, each with its reason in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon_executor.tiny import write_tiny_checkpoint
from antiphon_server.cli.machine_checks.model_check import find_model
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.process.checkpoint_kind import CheckpointKind, read_config
from antiphon_server.process.preflight import check_model, check_tokenizer

OMNI = {"architectures": ["Qwen3OmniMoeForConditionalGeneration"], "model_type": "qwen3_omni_moe"}
TEXT_ONLY = OMNI | {"enable_audio_output": False}


def write(folder: Path, config: dict[str, Any] | None = None, *files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in files:
        (folder / file).write_bytes(b"GGUF")
    return folder


def kind_of(folder: Path) -> CheckpointKind:
    return CheckpointKind.of(read_config(folder))


def test_a_checkpoint_with_a_talker(tmp_path: Path) -> None:
    config = kind_of(write(tmp_path, OMNI))
    assert (config.has_talker, config.quantization) == (True, None)
    assert config.description == "Qwen3OmniMoeForConditionalGeneration"


def test_a_variant_without_a_talker(tmp_path: Path) -> None:
    config = kind_of(write(tmp_path, TEXT_ONLY))
    assert not config.has_talker
    assert config.description.endswith(", no Talker: answers in text")


@pytest.mark.parametrize("owner", ["", "thinker_config", "text_config"])
def test_quantized_weights_are_found_wherever_the_config_has_them(tmp_path: Path, owner: str) -> None:
    given: dict[str, Any] = {"quantization_config": {"quant_method": "awq"}}
    if owner == "text_config":
        given = {"text_config": given}
    config = OMNI | (given if not owner else {"thinker_config": given})
    assert kind_of(write(tmp_path, config)).quantization == "awq"


def refusal(path: Path) -> StartupError:
    with pytest.raises(StartupError) as raised:
        check_model(path)
    assert len(str(raised.value).splitlines()) <= 2
    return raised.value


def test_gguf_is_refused_as_a_file_and_as_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", None, "omni-Q4_K_M.gguf")
    for path in (folder, folder / "omni-Q4_K_M.gguf"):
        error = refusal(path)
        assert error.code == ExitCode.NOT_A_CHECKPOINT
        assert "omni-Q4_K_M.gguf is a GGUF file: the encoders and the Talker" in str(error)


def test_a_gguf_beside_the_weights_does_no_harm(tmp_path: Path) -> None:
    check_model(write(tmp_path, OMNI, "omni.gguf", "model.safetensors"))


def test_a_repository_of_sub_folders_is_refused_by_their_names(tmp_path: Path) -> None:
    for name in ("thinker", "talker", "code2wav"):
        write(tmp_path / name, OMNI)
    error = refusal(tmp_path)
    assert error.code == ExitCode.NOT_A_CHECKPOINT
    assert "its sub-folders code2wav, talker, thinker have. A model in several folders" in str(error)


@pytest.mark.heavy
def test_doctor_says_what_a_checkpoint_is(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "model", variant="captioner")
    found = find_model(str(tmp_path / "model"), None)
    assert (found.verdict, found.detail.endswith("no Talker: answers in text")) == ("ok", True)


def test_a_folder_without_any_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"neither tokenizer\.json nor vocab\.json and merges\.txt"):
        check_tokenizer(tmp_path)
