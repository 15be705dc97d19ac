"""Writes the tiny Qwen3.5-Omni checkpoint, built from the reference implementation's classes."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import GenerationConfig

from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.tiny import end_tokens, weights
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.qwen3_5_omni_config import tiny_config
from antiphon_executor.tiny.tokenizer import VOCABULARY, tiny_tokenizer
from antiphon_executor.tiny.voices import write_voices

_PADDED_AUDIO_S = 30


def write(path: Path, seed: int) -> None:
    """Writes config, weights, generation config, tokenizer, processor, template, voices, card to `path`."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    ids = tokenizer.get_vocab()

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Qwen3_5OmniMoeForConditionalGeneration(tiny_config(ids)).float().eval()
    with torch.no_grad():
        weights.fill(model, seed)
        end_tokens.make_text_end(model, spoken_tokens=VOCABULARY)
        end_tokens.make_aria_end(model)
    model.to(torch.bfloat16).save_pretrained(path)
    GenerationConfig(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    ).save_pretrained(path)
    tiny_processor(tokenizer, _PADDED_AUDIO_S).save_pretrained(path)
    write_voices(path, model.config, seed)
    card = {"random_weights": True, "name": "antiphon-tiny-qwen3.5-omni", "seed": seed}
    (path / "antiphon_card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
