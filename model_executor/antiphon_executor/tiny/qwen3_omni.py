"""Assembles the tiny Qwen3-Omni checkpoint from transformers' own classes.

In: a path and a seed. Out: the files of a released checkpoint in that folder. Never reads anything.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch
from transformers import Qwen2Tokenizer, WhisperFeatureExtractor
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

from antiphon_executor.tiny import weights
from antiphon_executor.tiny.config import IMAGE_SIZE, PATCH, tiny_config
from antiphon_executor.tiny.tokenizer import VOCABULARY, tiny_tokenizer


def write(path: Path, seed: int) -> None:
    """Write config, weights, generation config, tokenizer, processor, chat template and card into `path`."""
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    ids = tokenizer.get_vocab()
    config = tiny_config(ids)

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = Qwen3OmniMoeForConditionalGeneration(config).float().eval()
    weights.fill(model, seed, spoken_tokens=VOCABULARY)
    model.generation_config.update(
        eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]], pad_token_id=ids["<|endoftext|>"]
    )
    model.save_pretrained(path)
    _processor(tokenizer).save_pretrained(path)
    card = {"random_weights": True, "name": "antiphon-tiny-qwen3-omni", "seed": seed}
    (path / "antiphon_card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _processor(tokenizer: Qwen2Tokenizer) -> Qwen3OmniMoeProcessor:
    template = resources.files(__package__).joinpath("chat_template.jinja").read_text(encoding="utf-8")
    pixels = {"shortest_edge": 4 * (2 * PATCH) ** 2, "longest_edge": IMAGE_SIZE**2}
    vision = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2, "size": pixels}
    return Qwen3OmniMoeProcessor(
        image_processor=Qwen2VLImageProcessor(**vision),
        video_processor=Qwen2VLVideoProcessor(**vision),
        feature_extractor=WhisperFeatureExtractor(
            feature_size=128,
            sampling_rate=16_000,
            hop_length=160,
            n_fft=400,
            chunk_length=300,
            return_attention_mask=True,
        ),
        tokenizer=tokenizer,
        chat_template=template,
    )
