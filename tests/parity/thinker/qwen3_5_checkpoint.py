"""The tiny Qwen3.5-Omni, adapted for comparisons: few words to choose from, and a cap that prompts exceed.

Among hundreds of random logits the best two are often too close for bfloat16; among eight, rarely.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from antiphon_executor.tiny import write_tiny_checkpoint

MAX_MEDIA_ROWS = 24
WORDS = range(100, 108)
_WEIGHTS, _HEAD = "model.safetensors", "thinker.lm_head.weight"


def write_checkpoint(path: Path) -> Path:
    write_tiny_checkpoint(path, "qwen3_5_omni")
    config = json.loads((path / "config.json").read_text())
    config["talker_config"]["max_media_rows"] = MAX_MEDIA_ROWS
    (path / "config.json").write_text(json.dumps(config))
    weights = load_file(path / _WEIGHTS)
    quiet = weights[_HEAD] * 0.05
    quiet[list(WORDS)] = weights[_HEAD][list(WORDS)]
    save_file(weights | {_HEAD: quiet}, path / _WEIGHTS, metadata={"format": "pt"})
    return path
