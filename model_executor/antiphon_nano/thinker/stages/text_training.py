"""Stage "text", `python -m antiphon_nano.thinker.stages.text_training FOLDER`: the Thinker learns to read.

Draws new typed dialogues for each step, writes `thinker-text.safetensors` in FOLDER, and resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking import typed_dialogues
from antiphon_nano.thinker.dialogue import Writer
from antiphon_nano.thinker.network import network, word_rows
from antiphon_nano.thinker.stages.batch_pool import BatchPool
from antiphon_nano.thinker.stages.optimizer import optimizer_of
from antiphon_nano.training import Training, TrainingPlan, best_device, clipped_step, mixed_precision

CHECKPOINT = "thinker-text.safetensors"
TOKENS = 1280
"""Tokens of a step's batch, with padding."""


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
