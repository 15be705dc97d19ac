"""Auxiliary heads that read, where a question names a shape, what the picture has of that shape.

They read the Thinker's states after its first attention layer. From answers alone, the Thinker did not learn
whether a thing is in the picture: it stayed near chance.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, Qwen2Tokenizer
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextModel

from antiphon_nano.domain import words
from antiphon_nano.thinker.dialogue import Picture
from antiphon_nano.thinker.heads.tallies import Tallies
from antiphon_nano.thinker.network.network import Batch
from antiphon_nano.thinker.seeing.things import GRID, MOST

_UNKNOWN = -1
_ABSENT = 0.2
"""Weight of absent shapes: most of the twelve shapes in a search are absent."""
Things = NDArray[np.int64]
"""[things, 7]: the labels of the cells with the centres of things."""


@dataclass(frozen=True, slots=True)
class Found:
    """`row`, `place`: position of the token that names the shape. `count`: of the things found; their
    `colour` and `shape`, from 1, or 0 if they differ, -1 if there are none; `ninths`: whether one is in each.
    """

    row: int
    place: int
    count: int
    colour: int
    shape: int
    ninths: tuple[bool, ...]


class Lookups(nn.Module):
    """For each shape in a question: how many there are, their colour, and in which ninths of the picture they
    are. The same of all things for the word "shapes" and at the start of an answer; and whether they are
    alike.

    The ninths are learned first, and the count follows from them.
    """

    def __init__(self, tokenizer: Qwen2Tokenizer, thinker: PreTrainedConfig) -> None:
        super().__init__()
        width = thinker.text_config.hidden_size
        self.count = nn.Linear(width, MOST + 1)
        self.colour = nn.Linear(width, len(words.COLOURS) + 1)
        self.shape = nn.Linear(width, len(words.SHAPES) + 1)
        self.ninth = nn.Linear(width, GRID * GRID)
        self.tallies = Tallies(thinker)
        self._picture = int(thinker.image_token_id)
        both = zip(words.SHAPES, words.SHAPE_PLURALS, strict=True)
        self._shapes = _places(tokenizer, [(one, many) for one, many in both])
        (self._all,) = _places(tokenizer, [("shapes",)])
        self._colours = _places(tokenizer, [(colour,) for colour in words.COLOURS])
        self._states: Tensor | None = None

    def watch(self, model: Qwen3_5MoeTextModel) -> Qwen3_5MoeTextModel:
        """Hooks the states after the first attention layer of a Thinker's `model`. Returns that model up to
        this layer, sharing its modules: all that a lookup needs.
        """
        first = list(model.config.layer_types).index("full_attention")
        model.layers[first].register_forward_hook(self._keep)
        short = copy.copy(model)
        short.config = copy.copy(model.config)
        short.config.num_hidden_layers = first + 1
        return short

    def _keep(self, _: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        self._states = output if isinstance(output, Tensor) else output[0]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss for the last states, and the share of present shapes counted correctly; (0, 1) if the
        batch has no lookup. Call it once after each pass of the model.
        """
        states, self._states = self._states, None
        if states is None:
            raise RuntimeError("the hooked model has not run")
        found = self.found(batch)
        if not found:
            return states.new_zeros(()), states.new_ones(())
        read = states[[one.row for one in found], [one.place for one in found]]
        count, colour, shape = (
            torch.tensor([getattr(one, name) for one in found], device=read.device)
            for name in ("count", "colour", "shape")
        )
        ninths = torch.tensor([one.ninths for one in found], device=read.device).to(torch.float32)
        told = self.count(read).float()
        of_each = [
            functional.cross_entropy(told, count, reduction="none"),
            functional.cross_entropy(
                self.colour(read).float(), colour, ignore_index=_UNKNOWN, reduction="none"
            ),
            functional.cross_entropy(
                self.shape(read).float(), shape, ignore_index=_UNKNOWN, reduction="none"
            ),
            functional.binary_cross_entropy_with_logits(
                self.ninth(read).float(), ninths, reduction="none"
            ).sum(1),
        ]
        there = count > 0
        share = _ABSENT + (1 - _ABSENT) * there
        loss = (torch.stack(of_each).sum(0) * share).sum() / share.sum()
        right = (told.argmax(-1) == count)[there].float().mean() if bool(there.any()) else told.new_ones(())
        return loss + self.tallies(states, batch), right

    def found(self, batch: Batch) -> list[Found]:
        """The lookups of a batch: shapes named after the picture of their dialogue, except in answers."""
        ids, answers = batch.token_ids.cpu().numpy(), batch.answers.cpu().numpy()
        pictures = iter(batch.pictures)
        found = []
        for row, line in enumerate(ids):
            cells = np.flatnonzero(line == self._picture)
            if len(cells) == 0:
                continue
            things = _centres(next(pictures))
            for place in range(cells[-1] + 1, len(line) - 1):
                if answers[row, place]:
                    continue
                wanted = self._wanted(things, line[place - 1 : place + 1].tolist(), answers[row, place + 1])
                if wanted is not None:
                    found.append(_found(row, place, wanted))
        return found

    def _wanted(self, things: Things, tokens: list[int], opens: bool) -> Things | None:
        """The things that the second of two tokens asks for, or None. `opens`: an answer comes next."""
        colour, shape = self._colours.get(tokens[0]), self._shapes.get(tokens[1])
        if shape is None:
            return things if opens or tokens[1] == self._all else None
        alike = things[things[:, 1] == shape + 1]
        return alike if colour is None else alike[alike[:, 0] == colour + 1]


def _found(row: int, place: int, things: Things) -> Found:
    ninths = tuple(bool((things[:, 6] == ninth).any()) for ninth in range(GRID * GRID))
    return Found(row, place, len(things), _shared(things[:, 0]), _shared(things[:, 1]), ninths)


def _shared(labels: NDArray[np.int64]) -> int:
    """The common label, or 0 if labels differ."""
    if len(labels) == 0:
        return _UNKNOWN
    return int(labels[0]) if (labels == labels[0]).all() else 0


def _centres(picture: Picture) -> Things:
    if picture.labels is None:
        raise ValueError("the picture has no labels to train on")
    return picture.labels[picture.labels[:, 2] == 1]


def _places(tokenizer: Qwen2Tokenizer, named: Sequence[Sequence[str]]) -> dict[int, int]:
    """For each token of a word inside a sentence, the index in `named` of the words it belongs to."""
    return {
        tokenizer.encode(f" {word}", add_special_tokens=False)[0]: place
        for place, same in enumerate(named)
        for word in same
    }
