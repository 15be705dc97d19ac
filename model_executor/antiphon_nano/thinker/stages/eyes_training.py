"""Stage "eyes", `python -m antiphon_nano.thinker.stages.eyes_training FOLDER`: the vision tower alone.

Draws new pictures and clips for each step, writes `thinker-eyes.safetensors` in FOLDER, and resumes. No text
model is needed: the heads of `heads.tower_heads` supply the losses.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Clip, Picture
from antiphon_nano.thinker.heads.tower_heads import VisionHeads
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing import clips, pictures
from antiphon_nano.thinker.stages.optimizer import optimizer_of
from antiphon_nano.training import Training, TrainingPlan, best_device, clipped_step, mixed_precision

CHECKPOINT = "thinker-eyes.safetensors"
PICTURES, CLIPS = 12, 4
"""Pictures and clips of a step."""
_SCENES: pictures.Scenes = (
    (0.4, pictures.crowd),
    (0.25, pictures.large),
    (0.1, pictures.alike),
    (0.25, pictures.scene),
)
"""Crowds have more things than any question is about, and each thing teaches as much as one alone. Large
things need more pictures, because each cell shows a part and few scenes have one.
"""


def shown(rng: random.Random) -> list[Picture | Clip]:
    """The media of one step."""
    media: list[Picture | Clip] = []
    for _ in range(PICTURES):
        media.append(pictures.show(pictures.one_of(_SCENES, rng), rng))
    return media + [clips.show(clips.act(rng), rng) for _ in range(CLIPS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = best_device()
    config = network.nano_config(nano_tokenizer())
    tower = network.nano_thinker(config).visual.to(device)
    aids = VisionHeads(config.text_config.hidden_size).to(device)
    optimizer = optimizer_of(tower, aids)

    def step(number: int) -> Mapping[str, Tensor]:
        media = shown(random.Random(f"eyes {number}"))
        with mixed_precision(device):
            losses = dict(aids(network.vision_rows(tower, media), media))
        seen = losses.pop("seen")
        clipped_step(optimizer, torch.stack(list(losses.values())).sum())
        return losses | {"seen": seen}

    plan = TrainingPlan(arguments.folder / CHECKPOINT, arguments.steps, arguments.rate)
    Training(plan, {"visual": tower, "aids": aids}, {"eyes": optimizer}).run(step)


if __name__ == "__main__":
    main()
