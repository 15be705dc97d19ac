"""Stage "polish", `python -m antiphon_nano.thinker.stages.polish FOLDER`: a running mean of the weights.

Starts from FOLDER/thinker.safetensors or a checkpoint (`--on`), writes `thinker-polished.safetensors`, and
resumes. The mean over hundreds of steps answers more questions correctly than the weights of any one step.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.asking import typed_dialogues
from antiphon_nano.thinker.dialogue import Dialogue, Writer
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.lessons import lessons
from antiphon_nano.thinker.lessons.media_sources import RecordedMedia, Source
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages import joint_training
from antiphon_nano.thinker.stages.batch_pool import BatchPool
from antiphon_nano.thinker.stages.optimizer import optimizer_of
from antiphon_nano.training import (
    Training,
    TrainingPlan,
    best_device,
    gradient_step,
    mixed_precision,
    weights,
)
from antiphon_nano.workers.worker import Worker

CHECKPOINT = "thinker-polished.safetensors"
_TYPED = 0.25
"""Share of typed dialogues, in addition to those among all lessons."""
_KEPT = 0.998
"""Decay of the mean per step: it reaches back over some 500 steps."""
_TOWERS = 0.2
"""Learning rate of the towers, as in the stage "joint"."""


def running_mean(learner: nn.Module) -> AveragedModel:
    """The mean starts as the learner is now, not as it is after the first step."""
    mean = AveragedModel(learner, multi_avg_fn=get_ema_multi_avg_fn(_KEPT))
    mean.n_averaged.fill_(1)
    return mean


def thinker_file(folder: Path) -> Path:
    """The polished Thinker if there is one, else that of the stage "joint"."""
    polished = folder / CHECKPOINT
    return polished if polished.exists() else folder / joint_training.CHECKPOINT


def lesson(source: Source, rng: random.Random) -> Dialogue:
    return typed_dialogues.talk(rng) if rng.random() < _TYPED else lessons.lesson(source, rng)


def load_start(thinker: Thinker, folder: Path, checkpoint: Path | None) -> None:
    """Loads the Thinker of the stage "joint", or of `checkpoint`."""
    if checkpoint is None:
        thinker.load_state_dict(weights(folder / joint_training.CHECKPOINT, "thinker"))
        return
    whole = Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    thinker.load_state_dict(whole.thinker.state_dict())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument(
        "--on", type=Path, metavar="CHECKPOINT", help="start from the Thinker of this checkpoint"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    worker = Worker.joined()
    device = best_device()
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    writer, source = Writer(tokenizer, config), RecordedMedia(Library(folder / "speech", folder / "asked"))
    thinker = network.nano_thinker(config)
    load_start(thinker, folder, arguments.on)
    thinker.to(device)
    mean, balance = running_mean(thinker), network.ExpertBalance(thinker.model)
    towers = (thinker.visual, thinker.audio_tower)
    optimizer = optimizer_of(thinker.model, thinker.lm_head, slower=towers, share=_TOWERS)
    pools = [
        BatchPool(lambda rng: writer.sample(lesson(source, rng)), joint_training.TOKENS, seed=5 + 1000 * part)
        for part in worker.share(joint_training.PARTS)
    ]

    def step(number: int) -> Mapping[str, Tensor]:
        losses: Mapping[str, Tensor] = {}
        for pool in pools:
            batch = network.to_device(network.Batch.of(pool.batch(number)), device)
            with mixed_precision(device):
                last = network.states(thinker.model, network.embed(thinker, batch).rows, batch.positions)
                loss, right = network.answer_loss(thinker, batch, last)
                losses = {"loss": loss, "right": right, "balance": balance.loss()}
            ((loss + 0.01 * losses["balance"]) / len(pools)).backward()
        gradient_step(optimizer, worker=worker)
        mean.update_parameters(thinker)
        return losses

    plan = TrainingPlan(folder / CHECKPOINT, arguments.steps, arguments.rate, log_every=50)
    modules = {"thinker": mean.module, "learner": thinker}
    Training(plan, modules, {"polish": optimizer}, worker).run(step)


if __name__ == "__main__":
    main()
