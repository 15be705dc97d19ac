"""Stage "text", `python -m antiphon_nano.thinker.stages.text_training FOLDER`: the Thinker learns to read.

Draws new typed dialogues for each step, writes `thinker-text.safetensors` in FOLDER, and resumes.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking import typed_dialogues
from antiphon_nano.thinker.dialogue import Sample, Writer
from antiphon_nano.thinker.network import network, word_rows
from antiphon_nano.training import Training, TrainingPlan, best_device, clipped_step, mixed_precision

CHECKPOINT = "thinker-text.safetensors"
TOKENS = 1280
"""Tokens of a step's batch, with padding."""
_DECAY = 0.05
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


def optimizer_of(*modules: nn.Module, slower: Sequence[nn.Module] = (), share: float = 1.0) -> AdamW:
    """Weight decay for matrices alone. `slower` modules learn at `share` of the rate."""
    groups = [*_groups(modules, 1.0), *_groups(slower, share)]
    return AdamW(groups, betas=(0.9, 0.98), fused=True)


def _groups(modules: Sequence[nn.Module], share: float) -> list[dict[str, Any]]:
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    split = [([p for p in parameters if p.ndim >= 2], _DECAY), ([p for p in parameters if p.ndim < 2], 0.0)]
    return [{"params": params, "weight_decay": decay, "share": share} for params, decay in split if params]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = best_device()
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    thinker, writer = network.nano_thinker(config), Writer(tokenizer, config)
    word_rows.begin(thinker, tokenizer)
    thinker.to(device)
    balance = network.ExpertBalance(thinker.model)
    optimizer = optimizer_of(thinker.model, thinker.lm_head)
    pool = BatchPool(lambda rng: writer.sample(typed_dialogues.talk(rng)), TOKENS, seed=1)

    def step(number: int) -> Mapping[str, Tensor]:
        batch = network.to_device(network.Batch.of(pool.batch(number)), device)
        with mixed_precision(device):
            rows = network.embed(thinker, batch).rows
            last = network.states(thinker.model, rows, batch.positions)
            loss, right = network.answer_loss(thinker, batch, last)
            balanced = balance.loss()
        clipped_step(optimizer, loss + 0.01 * balanced)
        return {"loss": loss, "right": right, "balance": balanced}

    plan = TrainingPlan(arguments.folder / CHECKPOINT, arguments.steps, arguments.rate, log_every=50)
    modules = {"model": thinker.model, "lm_head": thinker.lm_head}
    Training(plan, modules, {"text": optimizer}).run(step)


if __name__ == "__main__":
    main()
