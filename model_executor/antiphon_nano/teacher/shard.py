"""Shards, the file format of speech: samples in one file, texts and alignment in another.

Audio is int16 at 24 kHz. A shard gets its name last, so an incomplete one is never read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1920


@dataclass(frozen=True, slots=True)
class Utterance:
    """`first_frame`, `frames`: position in the shard; `starts`: the first frame of each token; `phonemes`:
    the teacher's id in the middle of each frame. The last two are empty without alignment.
    """

    text: str
    voice: str
    first_frame: int
    frames: int
    starts: list[int]
    phonemes: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """`samples`: int16 [frames * 1920] of all utterances in sequence, memory-mapped."""

    utterances: list[Utterance]
    samples: NDArray[np.int16]

    def sound(self, utterance: Utterance) -> NDArray[np.float32]:
        """float32 [frames * 1920] in -1 to 1."""
        start = utterance.first_frame * FRAME_SAMPLES
        end = start + utterance.frames * FRAME_SAMPLES
        return self.samples[start:end].astype(np.float32) / np.float32(32768)


def write(path: Path, utterances: Sequence[Utterance], sounds: Sequence[NDArray[np.float32]]) -> None:
    """`path` has no suffix: `.npy` and `.json` are added."""
    samples = np.concatenate([np.clip(sound, -1, 1) * 32767 for sound in sounds]).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".partial.npy"), samples, allow_pickle=False)
    path.with_suffix(".partial.npy").replace(path.with_suffix(".npy"))
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(utterance) for utterance in utterances], ensure_ascii=False))
    partial.replace(path.with_suffix(".json"))


def read(path: Path) -> Shard:
    """`path`: with or without suffix."""
    records = json.loads(path.with_suffix(".json").read_text())
    samples = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    return Shard([Utterance(**record) for record in records], samples)


def all_of(folder: Path, kind: str = "train") -> list[Path]:
    """The complete shards whose names begin with `kind`, sorted by name."""
    return sorted(path.with_suffix("") for path in folder.glob(f"{kind}*.json") if "." not in path.stem)
