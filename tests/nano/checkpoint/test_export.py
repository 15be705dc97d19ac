"""The export writes a complete checkpoint of the family, deterministically, or fails."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, read_config, read_family
from antiphon_executor.checkpoint.model_card import read_card_file, text_ends
from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.planning.planner import plan_memory
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_nano.checkpoint.export import MOST_BYTES, REPETITION, SPEECH, ExportError, export
from antiphon_nano.checkpoint.export import main as export_command
from antiphon_nano.checkpoint.unspoken_words import LEAST, borrow_embeddings
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.training import weights

GiB = 1 << 30
Model = Qwen3_5OmniMoeForConditionalGeneration


def tensors(exported: Path) -> dict[str, torch.Tensor]:
    with safe_open(exported / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def test_the_server_reads_it_as_any_checkpoint_of_the_family(exported: Path) -> None:
    config = read_config(exported)
    assert read_family(exported) is QWEN3_5_OMNI
    assert "random_weights" not in read_card_file(exported)
    notes = read_card_file(exported)
    assert (notes["speech"], notes["repetition_detection"]) == (SPEECH, REPETITION)
    assert text_ends(exported, config) == {
        nano_tokenizer().get_vocab()[end] for end in ("<|im_end|>", "<|endoftext|>")
    }
    voices = voice_prompts(exported, config, None)
    assert [(spoken.voice.id, spoken.voice.default) for spoken in voices] == [
        ("deep", False),
        ("heart", True),
    ]


def test_the_weights_are_small_and_the_vocoder_stays_float32(exported: Path, stages: Path) -> None:
    kept = tensors(exported)
    assert sum(tensor.nbytes for tensor in kept.values()) < MOST_BYTES
    exact = {name for name, tensor in kept.items() if tensor.dtype is torch.float32}
    assert exact == {n for n in kept if n.startswith("code2wav.") or n.endswith(".A_log")}
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32, torch.bfloat16}
    for name, tensor in weights(stages / "vocoder.safetensors", "vocoder").items():
        assert kept[f"code2wav.{name}"].equal(tensor)
    thinker = Model.from_pretrained(exported, dtype=torch.float32).thinker.state_dict()
    for name, tensor in weights(stages / "thinker.safetensors", "thinker").items():
        assert thinker[name].equal(tensor), name


def test_the_whole_context_fits_a_small_machine(exported: Path) -> None:
    config = read_config(exported)
    plan = plan_memory(config, EngineSettings(model=exported), 8 * GiB, gpus=False)
    assert plan.engines[0].request_tokens == 262_144
    assert plan.fits
    assert sum(engine.share_bytes for engine in plan.engines) < 5 * GiB


def test_the_same_files_give_the_same_bytes(exported: Path, stages: Path, tmp_path: Path) -> None:
    export(stages, tmp_path / "again")

    def sums(folder: Path) -> dict[str, str]:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert sums(tmp_path / "again") == sums(exported)
    assert {"NOTICE", "README.md", "chat_template.jinja", "tokenizer.json"} <= sums(exported).keys()


@pytest.mark.parametrize(
    "missing", ["thinker.safetensors", "vocoder.safetensors", "speech/held-deep.codes.npy"]
)
def test_a_stage_that_was_not_run_is_named(stages: Path, tmp_path: Path, missing: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(stages, home)
    (home / missing).unlink()
    with pytest.raises(ExportError, match=missing):
        export(home, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_the_command_fails_in_one_line(stages: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["export", str(stages), str(exported)])
    with pytest.raises(SystemExit, match="is not empty") as refused:
        export_command()
    assert "\n" not in str(refused.value)


def test_the_card_has_the_measured_figures_and_names_the_missing_ones(stages: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(stages, home)
    figures = {"talker": {"wer": 12.5, "texts": 100}, "served-read": {"wer": 9.125}}
    (home / "report.json").write_text(json.dumps(figures))
    export(home, tmp_path / "checkpoint")
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert "| talker | wer 12.5, texts 100 |" in card
    assert "| served-read | wer 9.125 |" in card
    assert "### Text, before it was served\nNot taken." in card
    assert "hibari" in card


def test_a_form_that_was_rarely_spoken_gets_the_embedding_of_the_other_form(stages: Path) -> None:
    from antiphon_executor.models.qwen3_5_omni.presets import nano
    from antiphon_executor.reference.talker import Talker

    tokenizer = nano_tokenizer()
    ids = tokenizer.get_vocab()
    talker = Talker(nano(ids).talker_config)
    before = talker.model.embed_tokens.weight.detach().clone()
    inside, opening, dog, control = ids["Ġwalk"], ids["Walk"], ids["Ġdog"], ids["<|im_start|>"]
    borrow_embeddings(talker, tokenizer, {inside: 50, opening: LEAST - 1, dog: LEAST})
    table = talker.model.embed_tokens.weight.detach()
    assert table[opening].equal(before[inside])
    assert table[inside].equal(before[inside])
    assert table[dog].equal(before[dog])
    assert table[control].equal(before[control])
    assert table[ids["Ġriver"]].eq(0).all()
