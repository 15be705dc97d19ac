"""The voices of a tiny Qwen3.5-Omni checkpoint: one with random reference frames, one with text only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from antiphon_executor.checkpoint.voices import SUFFIX, VOICES_FOLDER, codebook_sizes
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig

FRAMES = 10
_LICENCE = "CC0-1.0"


def write_voices(path: Path, config: Qwen3_5OmniMoeConfig, seed: int) -> None:
    """Writes the voice files to `path/voices`."""
    limits = codebook_sizes(config)
    codes = np.random.default_rng(seed).integers(0, limits, (FRAMES, len(limits)))
    _write(
        path, "ada", {"name": "Ada", "opening": "a voice of", "codes": codes.tolist(), "closing": "no one"}
    )
    _write(path, "ben", {"name": "Ben", "opening": "speak low and slow"})


def _write(path: Path, voice_id: str, voice: dict[str, Any]) -> None:
    folder = path / VOICES_FOLDER
    folder.mkdir(exist_ok=True)
    text = json.dumps(voice | {"language": "en", "licence": _LICENCE})
    (folder / f"{voice_id}{SUFFIX}").write_text(text + "\n", encoding="utf-8")
