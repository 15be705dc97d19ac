"""Auxiliary heads of the towers: they read the contents of media from the towers' output.

Losses by name, from labels. Without these heads, such small towers need many times as many steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_nano.domain import words
from antiphon_nano.thinker.dialogue import Clip, Picture, Sound
from antiphon_nano.thinker.hearing.augmentation import VOCABULARY, word_ids
from antiphon_nano.thinker.seeing.clips import CHANGES
from antiphon_nano.thinker.seeing.drawing import NOWHERE, OFFSETS, SIZES

PHONEMES = 192
"""Upper bound of the teacher's phoneme ids."""
_UNKNOWN = -1
_PARTS = (len(OFFSETS) + 1, len(OFFSETS) + 1, len(SIZES) + 1)


class VisionHeads(nn.Module):
    """For each cell: colour, shape, whether it holds a centre, which part of a thing it is, and how it moves.

    The parts teach which cells belong together, and so to recognise a shape by its outline.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour = nn.Linear(width, len(words.COLOURS) + 1)
        self.shape = nn.Linear(width, len(words.SHAPES) + 1)
        self.centre = nn.Linear(width, 2)
        self.parts = nn.Linear(width, sum(_PARTS))
        self.change = nn.Linear(width, len(CHANGES))

    def forward(self, rows: Tensor, media: Sequence[Picture | Clip]) -> Mapping[str, Tensor]:
        """`rows`: [cells of all media, width]. `seen` is the share of things read right at their centres."""
        labels = torch.from_numpy(np.concatenate([cell_labels(medium) for medium in media])).to(rows.device)
        colour, shape, centre, *parts, _, change = labels.unbind(1)
        filled = colour > 0
        read = {"colour": (self.colour(rows), colour), "shape": (self.shape(rows), shape)}
        losses = {name: _both(logits.float(), wanted, filled) for name, (logits, wanted) in read.items()}
        losses["centre"] = _both(self.centre(rows).float(), centre, centre > 0)
        if bool((parts[0] != NOWHERE).any()):
            told = self.parts(rows).float().split(_PARTS, dim=1)
            of_each = [
                functional.cross_entropy(t, part, ignore_index=NOWHERE)
                for t, part in zip(told, parts, strict=True)
            ]
            losses["parts"] = torch.stack(of_each).mean()
        if bool((change != _UNKNOWN).any()):
            losses["change"] = functional.cross_entropy(
                self.change(rows).float(), change, ignore_index=_UNKNOWN
            )
        right = torch.stack([logits.argmax(-1) == wanted for logits, wanted in read.values()]).all(0)
        return losses | {"seen": right[centre == 1].float().mean()}


class AudioHeads(nn.Module):
    """For aligned recordings: the phonemes and the word in each token. For all: the words (CTC)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.phonemes = nn.Linear(width, 2 * PHONEMES)
        self.word = nn.Linear(width, len(VOCABULARY))
        self.words = nn.Linear(width, len(VOCABULARY) + 1)

    def forward(self, rows: Tensor, sounds: Sequence[Sound], lengths: Sequence[int]) -> Mapping[str, Tensor]:
        """`rows`: [tokens of all sounds, width]; `lengths`: tokens of each sound."""
        unknown = [np.full((length, 3), _UNKNOWN) for length in lengths]
        labels = torch.from_numpy(
            np.concatenate(
                [u if s.labels is None else s.labels for s, u in zip(sounds, unknown, strict=True)]
            )
        ).to(rows.device)
        losses = {}
        if bool((labels != _UNKNOWN).any()):
            phonemes = self.phonemes(rows).float().unflatten(1, (2, PHONEMES)).transpose(1, 2)
            losses["phonemes"] = functional.cross_entropy(phonemes, labels[:, :2], ignore_index=_UNKNOWN)
            word = self.word(rows).float()
            losses["word"] = functional.cross_entropy(word, labels[:, 2], ignore_index=_UNKNOWN)
        return losses | {"words": word_loss(self.words(rows), sounds, lengths)}

    def read(self, rows: Tensor, lengths: Sequence[int]) -> list[list[str]]:
        """The words of each sound, read greedily from `rows`."""
        found = []
        for part in self.words(rows).argmax(-1).split(list(lengths)):
            ids = torch.unique_consecutive(part).tolist()
            found.append([VOCABULARY[index - 1] for index in ids if index])
        return found


def word_loss(logits: Tensor, sounds: Sequence[Sound], lengths: Sequence[int]) -> Tensor:
    """CTC per word over the sounds that contain words. `logits`: [tokens of all, 1 + words], blank first."""
    parts = logits.float().log_softmax(-1).split(list(lengths))
    chosen = [(part, word_ids(sound.words)) for part, sound in zip(parts, sounds, strict=True) if sound.words]
    if not chosen:
        return logits.new_zeros(())
    padded = nn.utils.rnn.pad_sequence([part for part, _ in chosen])
    targets = torch.tensor([index + 1 for _, ids in chosen for index in ids])
    return functional.ctc_loss(
        padded,
        targets,
        torch.tensor([len(part) for part, _ in chosen]),
        torch.tensor([len(ids) for _, ids in chosen]),
        zero_infinity=True,
    )


def _both(logits: Tensor, wanted: Tensor, filled: Tensor) -> Tensor:
    """The mean over cells that are not empty, plus a share of the mean over all cells."""
    losses = functional.cross_entropy(logits, wanted, reduction="none")
    return losses.mean() + (losses * filled).sum() / filled.sum().clamp(min=1)


def cell_labels(medium: Picture | Clip) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """[cells, 8]: colour, shape, centre, three parts, ninth, change. Pictures have no change."""
    if medium.labels is None:
        raise ValueError("the medium has no labels to train on")
    if isinstance(medium, Clip):
        return medium.labels
    return np.pad(medium.labels, ((0, 0), (0, 1)), constant_values=_UNKNOWN)
