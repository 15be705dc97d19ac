"""A checkpoint with a Talker of the released sizes is written shard by shard. Here its sizes are tiny."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.planning.weight_sizes import weight_sizes
from antiphon_executor.tiny import qwen3_omni, sharded, write_tiny_checkpoint
from antiphon_executor.tiny.end_tokens import CHANNEL
from antiphon_executor.tiny.qwen3_omni_config import RELEASED, TINY, tiny_config
from antiphon_executor.tiny.tokenizer import tiny_tokenizer
from antiphon_server.cli.main import main
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401

LIMIT = 400_000


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(qwen3_omni, "RELEASED", TINY)
    monkeypatch.setattr(sharded, "SHARD_BYTES", LIMIT)
    write_tiny_checkpoint(tmp_path / "model", sizes="released")
    return tmp_path / "model"


def shapes(folder: Path) -> dict[str, list[int]]:
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            found |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    return found


def test_it_has_the_tensors_and_the_configuration_of_the_whole_one(
    checkpoint: Path,
    tiny_qwen3_omni: Path,  # noqa: F811
) -> None:
    assert shapes(checkpoint) == shapes(tiny_qwen3_omni)
    own, whole = (json.loads((path / "config.json").read_text()) for path in (checkpoint, tiny_qwen3_omni))
    assert (own.pop("dtype"), whole.pop("dtype")) == ("bfloat16", "float32")
    assert own == whole
    files = [
        {file.name for file in path.iterdir() if "safetensors" not in file.name}
        for path in (checkpoint, tiny_qwen3_omni)
    ]
    assert files[0] == files[1]


def test_transformers_loads_it_and_its_answers_end(checkpoint: Path) -> None:
    model, report = Qwen3OmniMoeForConditionalGeneration.from_pretrained(checkpoint, output_loading_info=True)
    assert not any(report.values())
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    for layer in (*model.thinker.model.layers, *model.talker.model.layers):
        assert not layer.mlp.experts.down_proj[:, CHANNEL].any()
        assert layer.mlp.experts.down_proj.std() > 0.01
    head = model.talker.codec_head.weight[:, CHANNEL]
    assert head.argmax() == model.config.talker_config.codec_eos_token_id


def test_shards_are_small_and_the_index_names_every_tensor(checkpoint: Path) -> None:
    index = json.loads((checkpoint / sharded.INDEX).read_text())
    files = sorted(checkpoint.glob("*.safetensors"))
    assert len(files) > 10
    assert index["weight_map"].keys() == shapes(checkpoint).keys()
    assert set(index["weight_map"].values()) == {file.name for file in files}
    largest = max(torch.Size(shape).numel() * 2 for shape in shapes(checkpoint).values())
    assert max(file.stat().st_size for file in files) < max(LIMIT, largest) + 20_000


def test_no_more_than_a_shard_is_in_memory(tmp_path: Path) -> None:
    living: set[int] = set()
    most = 0

    def tensors() -> Iterator[tuple[str, Tensor]]:
        nonlocal most
        for number in range(60):
            tensor = torch.full((1_000,), float(number))
            living.add(number)
            weakref.finalize(tensor, living.discard, number)
            most = max(most, len(living))
            yield f"tensor.{number}", tensor
            del tensor

    sharded.write_shards(tmp_path, tensors(), shard_bytes=20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) == 12
    # Five of 4,000 bytes, the next one, and the one that waits.
    assert most <= 7
    with safe_open(tmp_path / "model-00012-of-00012.safetensors", "pt") as last:
        assert last.get_tensor("tensor.59")[0] == 59


def test_the_same_seed_writes_the_same_bytes(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_checkpoint(tmp_path / "again", sizes="released")
    write_tiny_checkpoint(tmp_path / "other", seed=1, sizes="released")
    written = {file.name: file.read_bytes() for file in checkpoint.iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == written
    assert {file.name: file.read_bytes() for file in (tmp_path / "other").iterdir()} != written


def test_the_released_talker_has_three_billion_weights() -> None:
    sizes = weight_sizes(tiny_config(tiny_tokenizer().get_vocab(), RELEASED))
    assert 3.2e9 < sizes.talker < 3.7e9
    assert sizes.thinker < 0.1e9


@pytest.mark.parametrize(
    "other", [{"layout": "released"}, {"variant": "thinking"}, {"family": "qwen3_5_omni"}]
)
def test_released_sizes_are_for_the_plain_qwen3_omni(tmp_path: Path, other: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="released sizes are for qwen3_omni"):
        write_tiny_checkpoint(tmp_path, sizes="released", **other)


def test_unknown_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tiny", str(tmp_path), "--sizes", "whale"])
    assert "sizes are tiny, released" in capsys.readouterr().err
