"""Writes the tiny Qwen3-Omni checkpoint, built from transformers' own classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.tiny import end_tokens, weights
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.qwen3_omni_config import tiny_config
from antiphon_executor.tiny.tokenizer import VOCABULARY, tiny_tokenizer

_PADDED_AUDIO_S = 300


def write(path: Path, seed: int) -> None:
    """Writes config, weights, generation config, tokenizer, processor, chat template and card to `path`."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    ids = tokenizer.get_vocab()
    config = tiny_config(ids)

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Qwen3OmniMoeForConditionalGeneration(config).float().eval()
    with torch.no_grad():
        weights.fill(model, seed)
        end_tokens.make_text_end(model, spoken_tokens=VOCABULARY)
        end_tokens.make_dual_track_end(model)
    model.generation_config.update(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    model.save_pretrained(path)
    tiny_processor(tokenizer, _PADDED_AUDIO_S).save_pretrained(path)
    card = {"random_weights": True, "name": "antiphon-tiny-qwen3-omni", "seed": seed}
    (path / "antiphon_card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
