"""The released layout has the released checkpoint's files and keys, and the meaning of the saved one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.tiny import write_tiny_checkpoint
from antiphon_executor.tiny.tokenizer import CONTROL_TOKENS
from antiphon_server.cli.main import main
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_omni  # noqa: F401

RELEASED_FILES = {
    "config.json", "generation_config.json", "chat_template.json", "preprocessor_config.json", "vocab.json",
    "merges.txt", "tokenizer_config.json", "model.safetensors.index.json",
}  # fmt: skip
SHARDS = {f"model-0000{number}-of-00004.safetensors" for number in range(1, 5)}


def read(folder: Path, name: str) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads((folder / name).read_text())
    return contents


def test_the_files_are_the_released_ones_and_a_card(released_qwen3_omni: Path) -> None:  # noqa: F811
    files = {file.name for file in released_qwen3_omni.iterdir()}
    assert files == RELEASED_FILES | SHARDS | {"antiphon_card.json"}


def test_the_same_seed_writes_the_same_bytes(released_qwen3_omni: Path, tmp_path: Path) -> None:  # noqa: F811
    write_tiny_checkpoint(tmp_path, layout="released")
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_bytes() for file in released_qwen3_omni.iterdir()}


def test_rotary_positions_have_the_keys_of_transformers_4(released_qwen3_omni: Path) -> None:  # noqa: F811
    config = read(released_qwen3_omni, "config.json")
    assert "rope_parameters" not in (released_qwen3_omni / "config.json").read_text()
    thinker = config["thinker_config"]["text_config"]
    talker = config["talker_config"]["text_config"]
    assert thinker["rope_theta"] == talker["rope_theta"] == 1_000_000
    assert thinker["rope_scaling"]["mrope_interleaved"] is True
    assert talker["rope_scaling"]["interleaved"] is True
    assert "mrope_interleaved" not in talker["rope_scaling"]
    assert config["talker_config"]["code_predictor_config"]["rope_scaling"] is None
    assert config["code2wav_config"]["rope_theta"] == 10_000


def test_added_tokens_are_in_the_tokenizers_configuration_alone(released_qwen3_omni: Path) -> None:  # noqa: F811
    added = read(released_qwen3_omni, "tokenizer_config.json")["added_tokens_decoder"]
    vocabulary = read(released_qwen3_omni, "vocab.json")
    assert [token["content"] for token in added.values()] == list(CONTROL_TOKENS)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert min(map(int, added)) == len(vocabulary)


def test_the_embedding_has_rows_that_no_token_has(released_qwen3_omni: Path) -> None:  # noqa: F811
    config = read_config(released_qwen3_omni)
    tokens = len(read(released_qwen3_omni, "vocab.json")) + len(CONTROL_TOKENS)
    assert config.thinker_config.text_config.vocab_size > tokens


@torch.inference_mode()
def test_transformers_computes_the_same_from_both_layouts(
    released_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_omni: Path,  # noqa: F811
) -> None:
    load = Qwen3OmniMoeForConditionalGeneration.from_pretrained
    released, report = load(released_qwen3_omni, dtype=torch.float32, output_loading_info=True)
    saved = load(tiny_qwen3_omni, dtype=torch.float32)
    assert not any(report.values())
    ids = torch.arange(0, 480, 7)[None]
    ours, theirs = (model.eval().thinker(input_ids=ids).logits for model in (released, saved))
    count = theirs.shape[-1]
    torch.testing.assert_close(ours[..., :count], theirs)
    assert ours[..., count:].max() < theirs.max() - 20
    codes = torch.randint(0, 256, (1, 16, 9))
    torch.testing.assert_close(released.code2wav(codes), saved.code2wav(codes))
    rows = torch.randn(1, 5, saved.config.talker_config.text_config.hidden_size)
    spoken = [model.talker.model(inputs_embeds=rows).last_hidden_state for model in (released, saved)]
    torch.testing.assert_close(*spoken)


def test_the_processors_of_both_layouts_are_equal(
    released_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_omni: Path,  # noqa: F811
) -> None:
    released, saved = map(Qwen3OmniMoeProcessor.from_pretrained, (released_qwen3_omni, tiny_qwen3_omni))
    assert released.chat_template == saved.chat_template
    for part in ("image_processor", "video_processor", "feature_extractor"):
        ours, theirs = (getattr(processor, part).to_dict() for processor in (released, saved))
        assert {name: ours.get(name) for name in theirs} == theirs


def test_only_a_released_family_has_a_released_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="qwen3_5_omni is released"):
        write_tiny_checkpoint(tmp_path, "qwen3_5_omni", layout="released")
    with pytest.raises(ValueError, match="no layout 'whale'; layouts: saved, released"):
        write_tiny_checkpoint(tmp_path, layout="whale")
    with pytest.raises(SystemExit):
        main(["tiny", str(tmp_path), "--layout", "whale"])


@pytest.mark.parametrize("variant", ["thinking", "captioner"])
@torch.inference_mode()
def test_variants_without_a_talker_have_the_layout_too(tmp_path: Path, variant: str) -> None:
    write_tiny_checkpoint(tmp_path / "released", layout="released", variant=variant)
    write_tiny_checkpoint(tmp_path / "saved", variant=variant)
    config = read(tmp_path / "released", "config.json")
    assert not config["enable_audio_output"]
    assert not {"talker_config", "code2wav_config"} & config.keys()
    assert {file.name for file in (tmp_path / "released").iterdir()} >= RELEASED_FILES | SHARDS
    load, ids = Qwen3OmniMoeForConditionalGeneration.from_pretrained, torch.arange(0, 480, 7)[None]
    ours, theirs = (
        load(tmp_path / name, dtype=torch.float32).eval().thinker(input_ids=ids).logits
        for name in ("released", "saved")
    )
    assert torch.equal(ours[..., : theirs.shape[-1]], theirs)
