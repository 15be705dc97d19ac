"""Stage "naming", `python -m antiphon_nano.thinker.stages.naming_training FOLDER eyes|ears`: one tower.

The tower learns to produce embeddings of words. Reads the stages "text" and "eyes" or "ears", writes
`thinker-named-eyes.safetensors` or `thinker-named-ears.safetensors`, and resumes. The embedding is frozen.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.heads.naming import Naming
from antiphon_nano.thinker.heads.tower_heads import AudioHeads, VisionHeads
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages import ears_training, eyes_training, text_training
from antiphon_nano.thinker.stages.optimizer import optimizer_of
from antiphon_nano.training import Training, TrainingPlan, best_device, clipped_step, mixed_precision, weights

EYES, EARS = "thinker-named-eyes.safetensors", "thinker-named-ears.safetensors"


@dataclass(frozen=True, slots=True)
class TowerStage:
    """A tower of the Thinker, by its name there, with its auxiliary heads. `start`, `checkpoint`: file names.
    `losses`: of one step by number; the entry "right" is not a loss.
    """

    name: str
    tower: nn.Module
    aids: nn.Module
    start: str
    checkpoint: str
    steps: int
    losses: Callable[[int], Mapping[str, Tensor]]


def eyes(thinker: Thinker, naming: Naming, table: Tensor) -> TowerStage:
    aids = VisionHeads(thinker.config.text_config.hidden_size)

    def losses(number: int) -> Mapping[str, Tensor]:
        media = eyes_training.shown(random.Random(f"named eyes {number}"))
        with mixed_precision(table.device):
            rows = network.vision_rows(thinker.visual, media)
            named, right = naming.vision_loss(rows, media, table)
            read = dict(aids(rows, media))
        del read["seen"]
        return {"seen": named, "cells": torch.stack(list(read.values())).sum(), "right": right}

    start = eyes_training.CHECKPOINT
    return TowerStage("visual", thinker.visual, aids, start, EYES, 4000, losses)


def ears(thinker: Thinker, naming: Naming, table: Tensor, library: Library) -> TowerStage:
    tower, aids = thinker.audio_tower, AudioHeads(thinker.config.audio_config.d_model)

    def losses(number: int) -> Mapping[str, Tensor]:
        sounds = ears_training.said(library, random.Random(f"named ears {number}"))
        lengths = [tower.geometry.tokens(sound.mel.shape[1]) for sound in sounds]
        with mixed_precision(table.device):
            listened = network.audio_states(tower, [sound.mel for sound in sounds])
            named = naming.audio_loss(network.projected(tower, listened), sounds, lengths, table)
            return {"heard": named, **aids(listened, sounds, lengths)}

    return TowerStage("audio_tower", tower, aids, ears_training.CHECKPOINT, EARS, 8000, losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tower", choices=("eyes", "ears"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = best_device()
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    thinker, naming = network.nano_thinker(config), Naming(tokenizer, config)
    table = weights(folder / text_training.CHECKPOINT, "model")["embed_tokens.weight"].to(device)
    if arguments.tower == "eyes":
        named = eyes(thinker, naming, table)
    else:
        named = ears(thinker, naming, table, Library(folder / "speech", folder / "asked"))
    if not (folder / named.checkpoint).exists():
        named.tower.load_state_dict(weights(folder / named.start, named.name))
        named.aids.load_state_dict(weights(folder / named.start, "aids"))
    modules = {named.name: named.tower.to(device), "aids": named.aids.to(device)}
    optimizer = optimizer_of(*modules.values())

    def step(number: int) -> Mapping[str, Tensor]:
        losses = named.losses(number)
        clipped_step(optimizer, torch.stack([loss for name, loss in losses.items() if name != "right"]).sum())
        return losses

    plan = TrainingPlan(folder / named.checkpoint, arguments.steps or named.steps, arguments.rate, warmup=200)
    Training(plan, modules, {"tower": optimizer}).run(step)


if __name__ == "__main__":
    main()
