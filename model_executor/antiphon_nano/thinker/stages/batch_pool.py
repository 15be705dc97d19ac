"""Training batches: samples of similar length, drawn together so that little padding is needed."""

from __future__ import annotations

import random
from collections.abc import Callable

from antiphon_nano.thinker.dialogue import Sample

POOL = 16
"""Batches that are drawn together and sorted by length."""


class BatchPool:
    """Batches of samples of similar length, the same in every run. `draw`: random generator to a sample."""

    def __init__(self, draw: Callable[[random.Random], Sample], tokens: int, seed: int) -> None:
        self._draw, self._tokens, self._seed = draw, tokens, seed
        self._number, self._batches = -1, list[list[Sample]]()

    def batch(self, number: int) -> list[Sample]:
        if number // POOL != self._number:
            self._number = number // POOL
            self._batches = self._fill(random.Random(f"{self._seed} {self._number}"))
        return self._batches[number % POOL]

    def _fill(self, rng: random.Random) -> list[list[Sample]]:
        """Draws until `POOL` batches are full. The samples of the last, incomplete batch are dropped."""
        drawn: list[Sample] = []
        while True:
            drawn += [self._draw(rng) for _ in range(64)]
            batches = list(cut(sorted(drawn, key=lambda sample: len(sample.token_ids)), self._tokens))
            if len(batches) > POOL:
                rng.shuffle(batches)
                return batches[:POOL]


def cut(samples: list[Sample], tokens: int) -> list[list[Sample]]:
    """Batches of at most `tokens` with padding; a longer sample is alone. `samples`: sorted by length."""
    batches: list[list[Sample]] = [[]]
    for sample in samples:
        if batches[-1] and len(sample.token_ids) * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(sample)
    return batches
