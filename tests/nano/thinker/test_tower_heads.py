"""The towers' heads on media with little in them."""

from __future__ import annotations

import random

import torch

from antiphon_nano.thinker.heads.tower_heads import VisionHeads
from antiphon_nano.thinker.seeing import pictures


def test_an_empty_picture_has_a_finite_loss() -> None:
    empty = pictures.show(pictures.Scene(()), random.Random(1))
    losses = dict(VisionHeads(8)(torch.randn(len(empty.labels), 8), [empty]))
    losses.pop("seen")
    assert "parts" not in losses
    assert torch.stack(list(losses.values())).isfinite().all()
