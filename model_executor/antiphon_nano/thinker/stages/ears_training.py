"""Stage "ears", `python -m antiphon_nano.thinker.stages.ears_training FOLDER`: the audio tower alone.

Reads the shards in FOLDER/speech and FOLDER/asked, writes `thinker-ears.safetensors` in FOLDER, and resumes.
No text model is needed: the heads of `heads.tower_heads` supply the losses.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Sound
from antiphon_nano.thinker.heads.tower_heads import AudioHeads
from antiphon_nano.thinker.hearing import tones
from antiphon_nano.thinker.hearing.augmentation import Augmentation, heard
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.lessons.media_sources import toned
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages.optimizer import optimizer_of
from antiphon_nano.training import Training, TrainingPlan, best_device, clipped_step, mixed_precision

CHECKPOINT = "thinker-ears.safetensors"
SOUNDS = 16
"""Sounds of a step."""
_QUESTIONS, _TONES = 0.3, 0.1


def said(library: Library, rng: random.Random) -> list[Sound]:
    """The sounds of one step: sentences, questions, and a few without speech."""
    return [_one(library, rng) for _ in range(SOUNDS)]


def _one(library: Library, rng: random.Random) -> Sound:
    kind = rng.random()
    if kind < _TONES:
        return toned(tones.tone(rng, rng.uniform(0.8, 4)))
    asked = kind < _TONES + _QUESTIONS
    recording = library.question(rng).recording if asked else library.sentence(rng)
    return heard(recording, Augmentation.drawn(rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = best_device()
    config = network.nano_config(nano_tokenizer())
    tower = network.nano_thinker(config).audio_tower.to(device)
    aids = AudioHeads(config.audio_config.d_model).to(device)
    optimizer = optimizer_of(tower, aids)
    library = Library(arguments.folder / "speech", arguments.folder / "asked")

    def step(number: int) -> Mapping[str, Tensor]:
        sounds = said(library, random.Random(f"ears {number}"))
        lengths = [tower.geometry.tokens(sound.mel.shape[1]) for sound in sounds]
        with mixed_precision(device):
            losses = aids(network.audio_states(tower, [sound.mel for sound in sounds]), sounds, lengths)
        clipped_step(optimizer, torch.stack(list(losses.values())).sum())
        return losses

    plan = TrainingPlan(arguments.folder / CHECKPOINT, arguments.steps, arguments.rate, warmup=300)
    Training(plan, {"audio_tower": tower, "aids": aids}, {"ears": optimizer}).run(step)


if __name__ == "__main__":
    main()
