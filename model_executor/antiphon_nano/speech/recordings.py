"""The synthesised speech as training data: random pieces, batches, and codes.

Audio is float32 in -1 to 1, read from memory-mapped files. Draws depend on seed and step alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES

CODES = ".codes.npy"
"""Suffix of the file beside a shard that holds its codes: int16 [frames, groups]."""


class Recordings:
    """All shards of a kind: `train`, `held`, ... Raises ValueError if the folder has none."""

    def __init__(self, folder: Path, kind: str = "train", most: int | None = None) -> None:
        paths = shard.all_of(folder, kind)[:most]
        if not paths:
            raise ValueError(f"no speech of kind {kind!r} in {folder}")
        self.paths = paths
        self.shards = [shard.read(path) for path in paths]
        self._read: dict[int, NDArray[np.int16]] = {}
        self._places = [(s, u) for s, part in enumerate(self.shards) for u in range(len(part.utterances))]
        frames = [self.shards[s].utterances[u].frames for s, u in self._places]
        self._shares = np.array(frames) / sum(frames)
        self.hours = sum(frames) * FRAME_SAMPLES / shard.SAMPLE_RATE_HZ / 3600

    def __len__(self) -> int:
        return len(self._places)

    def utterance(self, index: int) -> shard.Utterance:
        s, u = self._places[index]
        return self.shards[s].utterances[u]

    def sound(self, index: int) -> Tensor:
        """float32 [frames * 1920]."""
        s, u = self._places[index]
        return torch.from_numpy(self.shards[s].sound(self.shards[s].utterances[u]))

    def codes(self, index: int) -> Tensor:
        """int64 [frames, groups]. Raises FileNotFoundError if the codec has not encoded this shard."""
        s, u = self._places[index]
        utterance = self.shards[s].utterances[u]
        codes = self._codes(s)[utterance.first_frame : utterance.first_frame + utterance.frames]
        return torch.from_numpy(codes.astype(np.int64))

    def _codes(self, number: int) -> NDArray[np.int16]:
        if number not in self._read:
            path = self.paths[number].with_suffix(CODES)
            self._read[number] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._read[number]

    def pieces(self, rng: np.random.Generator, count: int, samples: int) -> Tensor:
        """[count, samples] from random positions in shards, across the ends of utterances."""
        parts = []
        for number in rng.integers(len(self.shards), size=count):
            sound = self.shards[number].samples
            start = int(rng.integers(len(sound) - samples))
            parts.append(torch.from_numpy(sound[start : start + samples].astype(np.float32) / 32768))
        return torch.stack(parts)

    def drawn(self, rng: np.random.Generator, count: int) -> list[int]:
        """Random indices of utterances, with probability proportional to length."""
        return [int(index) for index in rng.choice(len(self._places), size=count, p=self._shares)]


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The random generator of one step."""
    return np.random.default_rng((seed, step))
