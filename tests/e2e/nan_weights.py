"""A checkpoint with rows of weights that are no numbers: a letter in the Thinker, a voice in the Talker."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

LETTER, LETTER_ID = "Q", 48
VOICE, VOICE_ID = "chelsie", 509


def spoil(checkpoint: Path) -> None:
    """In the shards that have them."""
    _spoil_row(checkpoint, "thinker.model.embed_tokens.weight", LETTER_ID)
    _spoil_row(checkpoint, "talker.model.codec_embedding.weight", VOICE_ID)


def _spoil_row(checkpoint: Path, name: str, row: int) -> None:
    index = json.loads((checkpoint / "model.safetensors.index.json").read_text())
    shard = checkpoint / index["weight_map"][name]
    weights = load_file(shard)
    weights[name][row] = torch.nan
    save_file(weights, shard, metadata={"format": "pt"})
