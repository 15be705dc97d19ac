"""Degraded pictures have the same size and contents, and other pixels."""

from __future__ import annotations

import random

import numpy as np

from antiphon_nano.thinker.seeing import clips, pictures
from antiphon_nano.thinker.seeing.degradation import degraded
from antiphon_nano.thinker.seeing.patches import MERGE


def test_a_degraded_picture_is_nearly_the_same() -> None:
    frames = np.full((2, 96, 128, 3), 255, np.uint8)
    frames[:, 20:60, 30:80] = (255, 0, 0)
    found = [degraded(frames, random.Random(seed)) for seed in range(40)]
    differences = [np.abs(one.astype(int) - frames).mean() for one in found]
    assert all(one.shape == frames.shape and one.dtype == np.uint8 for one in found)
    assert 8 < differences.count(0.0) < 24
    assert max(differences) < 8


def test_every_cell_of_a_picture_and_of_a_clip_has_its_label() -> None:
    rng = random.Random(0)
    grids = set()
    for _ in range(12):
        shown = [pictures.show(pictures.scene(rng), rng), clips.show(clips.act(rng), rng)]
        for medium in shown:
            assert medium.labels is not None
            time, height, width = medium.patches.grid
            assert len(medium.labels) == time * height * width // MERGE**2
        grids.add(shown[1].patches.grid[1:])
    assert len(grids) > 1
