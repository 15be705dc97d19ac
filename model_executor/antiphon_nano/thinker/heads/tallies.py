"""Auxiliary heads that count the things of a picture cell by cell.

They read the Thinker's states after its first attention layer. Trained on the final number alone, the Thinker
stayed wrong by one for large numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig

from antiphon_nano.thinker.dialogue import Picture
from antiphon_nano.thinker.network.network import Batch
from antiphon_nano.thinker.seeing.things import MOST

_UNKNOWN = -1


class Tallies(nn.Module):
    """In each cell: how many things there have been so far, and whether all are alike; at the centre of a
    thing, how many of its shape.
    """

    def __init__(self, thinker: PreTrainedConfig) -> None:
        super().__init__()
        width = thinker.text_config.hidden_size
        self.passed = nn.Linear(width, MOST + 1)
        self.alike = nn.Linear(width, 2)
        self.rank = nn.Linear(width, MOST + 1)
        self._picture = int(thinker.image_token_id)

    def forward(self, states: Tensor, batch: Batch) -> Tensor:
        """`states`: [n, length, hidden] of the batch. Returns 0 if the batch has no picture."""
        if not batch.pictures:
            return states.new_zeros(())
        read = states[batch.token_ids == self._picture]
        wanted = torch.from_numpy(np.concatenate([tally_labels(picture) for picture in batch.pictures]))
        losses = [
            functional.cross_entropy(head(read).float(), column, ignore_index=_UNKNOWN)
            for head, column in zip(
                (self.passed, self.alike, self.rank), wanted.to(read.device).unbind(1), strict=True
            )
            if bool((column != _UNKNOWN).any())
        ]
        return torch.stack(losses).sum()


def tally_labels(picture: Picture) -> NDArray[np.int64]:
    """[cells, 3]: things so far; whether they are alike, -1 for fewer than two; how many of the shape whose
    centre is there, -1 if there is none. Raises ValueError for a picture without labels.
    """
    if picture.labels is None:
        raise ValueError("the picture has no labels to train on")
    colours, shapes, centres = picture.labels[:, 0], picture.labels[:, 1], picture.labels[:, 2] == 1
    passed = np.cumsum(centres)
    found = np.full((len(centres), 3), _UNKNOWN)
    found[:, 0] = passed
    places = np.flatnonzero(centres)
    for count, place in enumerate(places, start=1):
        so_far = places[:count]
        found[place, 2] = int((shapes[so_far] == shapes[place]).sum())
        if count > 1:
            alike = len(set(zip(colours[so_far].tolist(), shapes[so_far].tolist(), strict=True))) == 1
            found[place:, 1] = int(alike)
    return found
