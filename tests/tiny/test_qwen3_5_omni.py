"""The tiny Qwen3.5-Omni checkpoint loads, behaves like a model, and is marked as random."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from antiphon_executor.models.qwen3_5_omni.prompt import Medium, Picture, PromptRules, Sound
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.reference.mel import log_mel
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.speech import Speech, family_sampling, speak
from antiphon_executor.reference.thinker import Patches, ThinkerPrompt
from antiphon_executor.tiny import write_tiny_checkpoint
from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401

QUESTIONS = ("Hello", "What is the time?", "Tell me about the red house")


@pytest.fixture(scope="module")
def model(tiny_qwen3_5_omni: Path) -> Qwen3_5OmniMoeForConditionalGeneration:  # noqa: F811
    return Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(
        tiny_qwen3_5_omni, dtype=torch.float32
    ).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_qwen3_5_omni: Path) -> PreTrainedTokenizerBase:  # noqa: F811
    return AutoTokenizer.from_pretrained(tiny_qwen3_5_omni)


def test_the_same_seed_writes_the_same_bytes(tiny_qwen3_5_omni: Path, tmp_path: Path) -> None:  # noqa: F811
    write_tiny_checkpoint(tmp_path, "qwen3_5_omni")
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    there = {file.name: file.read_bytes() for file in tiny_qwen3_5_omni.iterdir() if file.is_file()}
    assert written == there


def test_every_weight_is_loaded_and_none_is_initialized(tiny_qwen3_5_omni: Path) -> None:  # noqa: F811
    _, report = Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(
        tiny_qwen3_5_omni, output_loading_info=True
    )
    assert not any(report.values())


def test_the_config_has_the_family_and_the_contexts(tiny_qwen3_5_omni: Path) -> None:  # noqa: F811
    config = json.loads((tiny_qwen3_5_omni / "config.json").read_text())
    assert config["architectures"] == ["Qwen3_5OmniMoeForConditionalGeneration"]
    assert (config["model_type"], config["dtype"]) == ("qwen3_5_omni_moe", "bfloat16")
    thinker, talker = config["thinker_config"], config["talker_config"]
    assert thinker["text_config"]["max_position_embeddings"] == 262_144
    assert talker["text_config"]["max_position_embeddings"] == 65_536
    hybrid = ["linear_attention"] * 3 + ["full_attention"]
    assert thinker["text_config"]["layer_types"] == talker["text_config"]["layer_types"] == hybrid


def test_the_card_says_that_the_weights_are_random(tiny_qwen3_5_omni: Path) -> None:  # noqa: F811
    assert json.loads((tiny_qwen3_5_omni / "antiphon_card.json").read_text())["random_weights"] is True


def test_timestamps_survive_the_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in ("<12.0 seconds>", "<3599.5 seconds>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_answers_are_varied(
    model: Qwen3_5OmniMoeForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    end = model.config.im_end_token_id
    answers = [model.thinker.generate(_prompt(model, tokenizer, question), 24, end) for question in QUESTIONS]
    assert len({tuple(answer) for answer in answers}) == len(QUESTIONS)
    assert all(len(set(answer)) >= 16 for answer in answers)


def test_media_change_the_answer(
    model: Qwen3_5OmniMoeForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    noise = torch.Generator().manual_seed(1)
    hiss = np.random.default_rng(1).standard_normal(32_000).astype(np.float32) * 0.1
    tone = np.sin(np.arange(32_000, dtype=np.float32) * 0.17) * 0.3
    heard = [
        _prompt(model, tokenizer, "<|audio_start|><|audio_pad|><|audio_end|>Hm?", [Sound(200)], log_mel(clip))
        for clip in (hiss, tone)
    ]
    seen = [
        _prompt(
            model,
            tokenizer,
            "<|vision_start|><|image_pad|><|vision_end|>Hm?",
            [Picture((4, 4))],
            pixels=torch.randn(64, 3 * 2 * 16 * 16, generator=noise),
        )
        for _ in range(2)
    ]
    for first, second in (heard, seen):
        with torch.no_grad():
            away = (model.thinker(first).logits[-1] - model.thinker(second).logits[-1]).abs().max()
        assert away > 1.0


def test_the_talkers_memory_lasts_and_does_not_explode(
    model: Qwen3_5OmniMoeForConditionalGeneration,
) -> None:
    rows = model.talker.text_rows(torch.arange(480).repeat(2))
    changed = torch.cat((model.talker.text_rows([7]), rows[1:]))
    with torch.no_grad():
        before, after = model.talker.hidden(torch.stack((rows, changed)))
    away = (before - after).norm(dim=-1) / before.norm(dim=-1)
    assert torch.isfinite(before).all()
    assert away[16] > 0.01
    assert away[-1] < 1.0


def test_speech_is_varied_and_ends(
    model: Qwen3_5OmniMoeForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    answers = [_speech(model, tokenizer, seed) for seed in range(6)]
    assert sum(answer.ended for answer in answers) >= 4
    for answer in answers:
        code0 = answer.codes[:, 0].tolist()
        assert len(set(code0)) > len(code0) / 2
        wave = model.waveform(answer.codes)
        assert 0.05 < float(wave.square().mean().sqrt().detach()) < 0.5


def test_speech_depends_on_the_voice(
    model: Qwen3_5OmniMoeForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> None:
    first, second = (_speech(model, tokenizer, 0, voice=number, frames=4) for number in range(2))
    assert not torch.equal(first.codes, second.codes)


def _speech(
    model: Qwen3_5OmniMoeForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    voice: int = 0,
    frames: int = 48,
) -> Speech:
    opening, closing = (tuple(tokenizer.encode(text)) for text in ("<|im_start|>system\n", "<|im_end|>\n"))
    codes = np.random.default_rng(voice).integers(0, 256, (6, 16))
    prompt = _prompt(model, tokenizer, "Hello")
    rows = model.talker_rows(prompt, VoicePrompt(opening, codes, closing))
    text = tokenizer.encode("yes please")
    return speak(model.talker, rows, text, model.config.tts_eos_token_id, family_sampling(seed), frames)


def _prompt(
    model: Qwen3_5OmniMoeForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    media: Sequence[Medium] = (),
    mel: torch.Tensor | None = None,
    pixels: torch.Tensor | None = None,
) -> ThinkerPrompt:
    text = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    expanded = PromptRules(model.config.thinker_config, tokenizer.encode).expand(
        tokenizer.encode(text), media
    )
    return ThinkerPrompt(
        torch.as_tensor(expanded.token_ids),
        torch.as_tensor(expanded.positions),
        () if mel is None else (mel,),
        () if pixels is None else (Patches(pixels, (1, 8, 8)),),
    )
