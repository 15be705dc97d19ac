"""Writes the tiny Qwen3-Omni checkpoint, built from transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.tiny import end_tokens, sharded, weights
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.qwen3_omni_config import RELEASED, TINY, tiny_config
from antiphon_executor.tiny.tokenizer import VOCABULARY, tiny_tokenizer

_PADDED_AUDIO_S = 300
_SPEECH_PARTS = ("talker_config", "code2wav_config")


def write(path: Path, seed: int, variant: str, sizes: str = "tiny") -> None:
    """Writes config, weights, generation config, tokenizer, processor, chat template and card to `path`."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    ids = tokenizer.get_vocab()
    config = tiny_config(ids, RELEASED if sizes == "released" else TINY)
    config.enable_audio_output = variant == "instruct"
    model = sharded.allocated(config) if sizes == "released" else _whole(config, seed)
    with torch.no_grad():
        weights.fill(model, seed)
        end_tokens.make_text_end(model, spoken_tokens=VOCABULARY)
        if model.has_talker:
            end_tokens.make_dual_track_end(model)
    model.generation_config.update(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    if sizes == "released":
        sharded.save(model, path, seed)
    else:
        model.save_pretrained(path)
    tiny_processor(tokenizer, _PADDED_AUDIO_S).save_pretrained(path)
    if variant != "instruct":
        _remove_speech(path / "config.json")
    if variant == "thinking":
        _open_thinking(path / "chat_template.jinja")
    size = "random" if sizes == "released" else "tiny"
    name = f"antiphon-{size}-qwen3-omni" + ("" if variant == "instruct" else f"-{variant}")
    card = {"random_weights": True, "name": name, "seed": seed}
    (path / "antiphon_card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _whole(config: Qwen3OmniMoeConfig, seed: int) -> Qwen3OmniMoeForConditionalGeneration:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return Qwen3OmniMoeForConditionalGeneration(config).float().eval()


def _remove_speech(file: Path) -> None:
    """The released variants have no such parts; transformers writes their defaults."""
    config = json.loads(file.read_text(encoding="utf-8"))
    config = {name: value for name, value in config.items() if name not in _SPEECH_PARTS}
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _open_thinking(file: Path) -> None:
    """Every prompt ends in `<think>`, as those of models that always think."""
    source = file.read_text(encoding="utf-8")
    start = source.index("{%- if enable_thinking")
    end = source.index("{%- endif -%}", start) + len("{%- endif -%}")
    file.write_text(source[:start] + "{{- '<think>\\n' -}}" + source[end:], encoding="utf-8")
