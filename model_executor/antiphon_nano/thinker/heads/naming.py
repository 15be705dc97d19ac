"""Media as word embeddings: where a voice says "red", the ideal audio tower outputs the embedding of " red".

The ideal output of the towers, which the Thinker is trained on before there are towers, and losses that train
the towers to produce it. So what the Thinker learns about words also holds for media.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedConfig, Qwen2Tokenizer

from antiphon_nano.domain import words
from antiphon_nano.thinker.dialogue import Clip, Picture, Sound
from antiphon_nano.thinker.heads.tower_heads import cell_labels, word_loss
from antiphon_nano.thinker.hearing.augmentation import VOCABULARY, word_ids
from antiphon_nano.thinker.seeing.clips import CHANGES
from antiphon_nano.thinker.seeing.things import GRID

_SHARPNESS = 16.0
"""Logit of a word whose embedding is matched exactly: nearly certain among a thousand others."""
_SOUND_NOISE, _PICTURE_NOISE = 1.0, 0.4
"""Maximum noise on the ideal rows of a sound or a picture, relative to the rows."""
_LONGER = 0.15
"""Share of the imagined words that take two tokens."""


class Naming:
    """One token of the sound for each word. For pictures, the central cell of a thing is the sum of its
    names, its side of the picture and, in a clip, its movement. All other tokens have the embedding of the
    pad.
    """

    def __init__(self, tokenizer: Qwen2Tokenizer, thinker: PreTrainedConfig) -> None:
        self._words = [int(thinker.audio_token_id), *_tokens(tokenizer, VOCABULARY)]
        self._colours, self._shapes = _tokens(tokenizer, words.COLOURS), _tokens(tokenizer, words.SHAPES)
        self._changes = _tokens(tokenizer, CHANGES)
        self._down, self._across = (
            _tokens(tokenizer, ("top", "bottom")),
            _tokens(tokenizer, ("left", "right")),
        )
        self._picture, self._clip = int(thinker.image_token_id), int(thinker.video_token_id)

    def ideal_audio(self, sounds: Sequence[Sound], lengths: Sequence[int], table: Tensor) -> Tensor:
        """The ideal audio tower: [tokens of all, width]. `table`: the text embedding. Positions of words and
        the level of noise are random, because a real tower is not exact.
        """
        names = table[self._words]
        spoken = (_spoken(sound, length) for sound, length in zip(sounds, lengths, strict=True))
        return torch.cat([_with_noise(names[places], _SOUND_NOISE) for places in spoken])

    def ideal_vision(self, media: Sequence[Picture | Clip], table: Tensor) -> Tensor:
        """The ideal vision tower: [cells of all, width]."""
        return torch.cat([_with_noise(self._rows(medium, table), _PICTURE_NOISE) for medium in media])

    def audio_loss(
        self, rows: Tensor, sounds: Sequence[Sound], lengths: Sequence[int], table: Tensor
    ) -> Tensor:
        """CTC over the words, and the distance of each row from the embedding of its most probable word.

        `rows`: [tokens of all sounds, width].
        """
        names = table[self._words].detach().float()
        own, size = rows.float(), names.square().sum(1).mean()
        logits = own @ names.T * (_SHARPNESS / size)
        with torch.no_grad():
            likely = logits.softmax(-1)
            speech = likely.new_tensor([bool(sound.words) for sound in sounds])
            speech = speech.repeat_interleave(torch.tensor(lengths, device=speech.device))
            taken, word = likely @ names, speech * (1 - likely[:, 0])
        away = (own - taken).square().sum(1) / size
        pulled = [(away * share).sum() / share.sum().clamp(min=1) for share in (speech, word)]
        return word_loss(logits, sounds, lengths) + torch.stack(pulled).sum()

    def vision_loss(
        self, rows: Tensor, media: Sequence[Picture | Clip], table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`rows`: [cells of all media, width]. The loss, and the share of things that are named correctly."""
        table = table.detach().float()
        labels = torch.from_numpy(np.concatenate([cell_labels(medium) for medium in media])).to(rows.device)
        centre, own = labels[:, 2] == 1, rows.float()
        wanted = torch.cat([self._rows(medium, table) for medium in media])
        away = (own - wanted).square().sum(1) / table.square().sum(1).mean()
        losses, right = [_mean(away, centre)], torch.ones_like(centre)
        for column, tokens in enumerate((self._colours, self._shapes)):
            named = labels[:, column] * centre
            names = torch.stack((table[self._picture], *table[tokens]))
            logits = own @ names.T * (_SHARPNESS / names.square().sum(1).mean())
            losses.append(_mean(functional.cross_entropy(logits, named, reduction="none"), centre))
            right &= logits.argmax(-1) == named
        pictured = [wanted.new_full((len(cell_labels(m)),), isinstance(m, Picture)) for m in media]
        still = (torch.cat(pictured) > 0) & centre
        for tokens, side in self._sides(labels[still]):
            logits = own[still] @ table[tokens].T * (_SHARPNESS / table.square().sum(1).mean())
            logits = functional.pad(logits, (1, 0), value=_SHARPNESS / 2)
            losses.append(functional.cross_entropy(logits, side, reduction="sum") / still.sum().clamp(min=1))
            right[still] &= logits.argmax(-1) == side
        return torch.stack(losses).sum(), right[centre].float().mean()

    def _sides(self, labels: Tensor) -> list[tuple[list[int], Tensor]]:
        """Vertically and horizontally: the tokens of both sides, and for each thing the index of its own
        among them, from 1; 0 in the middle.
        """
        first_or_last = torch.tensor((1, 0, 2), device=labels.device)
        ninth = labels[:, -2]
        return [
            (self._down, first_or_last[ninth // GRID]),
            (self._across, first_or_last[ninth % GRID]),
        ]

    def _rows(self, medium: Picture | Clip, table: Tensor) -> Tensor:
        """[cells, width]."""
        labels = torch.from_numpy(cell_labels(medium)).to(table.device)
        colour, shape, change = (labels[:, column] for column in (0, 1, -1))
        names = table[self._colours][colour - 1] + table[self._shapes][shape - 1]
        if isinstance(medium, Picture):
            nothing = table[self._picture]
            for tokens, side in self._sides(labels.clamp(min=0)):
                names = names + functional.pad(table[tokens], (0, 0, 1, 0))[side]
        else:
            nothing = table[self._clip]
            names = names + table[self._changes][change] * (change >= 0)[:, None]
        return torch.where((labels[:, 2] == 1)[:, None], names, nothing)


def _mean(of_each: Tensor, centre: Tensor) -> Tensor:
    """The sum over all cells with equal weights, per thing. With more weight on cells of things, many things
    were named twice.
    """
    return of_each.sum() / centre.sum().clamp(min=1)


def _with_noise(rows: Tensor, most: float) -> Tensor:
    return rows + most * torch.rand(()) * rows.std() * torch.randn_like(rows)


def _spoken(sound: Sound, length: int) -> Tensor:
    """[length]: 0 without a word, else 1 + the index of a word in `VOCABULARY`."""
    said = word_ids(sound.words)[:length]
    places = torch.zeros(length, dtype=torch.long)
    if not said:
        return places
    lead, tail = (torch.rand(2) * 0.25 * max(0, length - 2 * len(said))).tolist()
    step = (length - lead - tail) / len(said)
    before = 0
    for index, word in enumerate(said):
        repeated = int(index > 0 and said[index - 1] == word and places[before - 1] != 0)
        drawn = int(lead + (index + float(torch.rand(()))) * step)
        place = min(max(drawn, before + repeated), length - (len(said) - index))
        place = max(place, before)
        places[place] = word + 1
        before = place + 1
        if float(torch.rand(())) < _LONGER and before < length - (len(said) - index):
            places[before] = word + 1
            before += 1
    return places


def _tokens(tokenizer: Qwen2Tokenizer, named: Sequence[str]) -> list[int]:
    """The token of each word inside a sentence. Raises ValueError if a word has none."""
    written = {word.lower(): word for word in words.WORDS}
    found = [tokenizer.encode(f" {written.get(word, word)}") for word in named]
    if any(len(ids) != 1 for ids in found):
        raise ValueError("a word is not a single token")
    return [ids[0] for ids in found]
