"""Stage "joint", `python -m antiphon_nano.thinker.stages.joint_training FOLDER`: the whole Thinker.

Reads the stages "imagining" and "naming" and the recordings, writes `thinker.safetensors` in FOLDER, and
resumes. The towers' auxiliary losses continue with a small weight.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Qwen2Tokenizer

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Clip, Picture, Writer
from antiphon_nano.thinker.heads.lookups import Lookups
from antiphon_nano.thinker.heads.naming import Naming
from antiphon_nano.thinker.heads.tower_heads import AudioHeads, VisionHeads
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.lessons.lessons import lesson
from antiphon_nano.thinker.lessons.media_sources import RecordedMedia
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages import imagining_training, naming_training
from antiphon_nano.thinker.stages.batch_pool import BatchPool
from antiphon_nano.thinker.stages.imagining_training import LOOKED, Searches
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

CHECKPOINT = "thinker.safetensors"
TOKENS = 1024
"""Tokens of a part of a step, with padding."""
PARTS = 2
"""Parts of a step: one worker takes both, two workers take one each."""
_AID, _NAMING = 0.1, 0.5
"""Weights of the towers' own losses, so that the towers do not forget while the text model learns."""

_TOWERS = 0.2
"""Learning rate of the towers, relative to the text model. At higher rates they forget, above all the audio
tower.
"""


class Joint(nn.Module):
    """The Thinker with its auxiliary heads, and their losses on a batch."""

    def __init__(
        self, thinker: Thinker, tokenizer: Qwen2Tokenizer, searches: Callable[[Lookups], Searches]
    ) -> None:
        super().__init__()
        width = thinker.config.text_config.hidden_size
        self.thinker = thinker
        self._naming = Naming(tokenizer, thinker.config)
        self.eyes = VisionHeads(width)
        self.ears = AudioHeads(thinker.config.audio_config.d_model)
        self.lookups = Lookups(tokenizer, thinker.config)
        self.searches = searches(self.lookups)
        self._balance = network.ExpertBalance(thinker.model)

    def begin(self, folder: Path) -> None:
        """Loads the earlier stages. Raises FileNotFoundError if one is missing."""
        for name in ("model", "lm_head"):
            self.thinker.get_submodule(name).load_state_dict(
                weights(folder / imagining_training.CHECKPOINT, name)
            )
        self.lookups.load_state_dict(weights(folder / imagining_training.CHECKPOINT, "lookups"))
        towers = (
            ("visual", self.eyes, naming_training.EYES),
            ("audio_tower", self.ears, naming_training.EARS),
        )
        for name, aids, stage in towers:
            self.thinker.get_submodule(name).load_state_dict(weights(folder / stage, name))
            aids.load_state_dict(weights(folder / stage, "aids"))

    def losses(self, batch: network.Batch, search: network.Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss, and its parts for the log."""
        rows = network.embed(self.thinker, batch)
        last = network.states(self.thinker.model, rows.rows, batch.positions)
        loss, right = network.answer_loss(self.thinker, batch, last)
        aids, named, table = loss.new_zeros(()), loss.new_zeros(()), self.thinker.model.embed_tokens.weight
        if rows.seen is not None:
            media: Sequence[Picture | Clip] = (*batch.pictures, *batch.videos)
            seen = dict(self.eyes(rows.seen, media))
            del seen["seen"]
            aids = aids + torch.stack(list(seen.values())).sum()
            named = named + self._naming.vision_loss(rows.seen, media, table)[0]
        if rows.listened is not None and rows.sound is not None:
            lengths = [self.thinker.audio_tower.geometry.tokens(clip.mel.shape[1]) for clip in batch.clips]
            aids = aids + torch.stack(list(self.ears(rows.listened, batch.clips, lengths).values())).sum()
            named = named + self._naming.audio_loss(rows.sound, batch.clips, lengths, table)
        looked = self.lookups(batch)[0]
        sought = network.embed(self.thinker, search)
        if sought.seen is not None:
            named = named + self._naming.vision_loss(sought.seen, search.pictures, table)[0]
        more, found = self.searches.losses(search, sought.rows)
        looked = looked + more
        balance = self._balance.loss()
        whole = loss + _AID * aids + _NAMING * named + LOOKED * looked + 0.01 * balance
        parts = {"loss": loss, "right": right, "aids": aids, "named": named, "looked": looked, "found": found}
        return whole, parts | {"balance": balance}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=5e-4)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    torch.manual_seed(0)
    worker = Worker.joined()
    device = best_device()
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    writer = Writer(tokenizer, config)
    source, thinker = (
        RecordedMedia(Library(folder / "speech", folder / "asked")),
        network.nano_thinker(config),
    )
    joint = Joint(thinker, tokenizer, lambda lookups: Searches(thinker.model, lookups, writer, source))
    joint.to(device)
    if not (folder / CHECKPOINT).exists():
        joint.begin(folder)
    towers = (joint.thinker.visual, joint.thinker.audio_tower, joint.eyes, joint.ears)
    reader = (joint.thinker.model, joint.thinker.lm_head, joint.lookups)
    optimizer = optimizer_of(*reader, slower=towers, share=_TOWERS)
    parts = [
        (
            BatchPool(lambda rng: writer.sample(lesson(source, rng)), TOKENS, seed=2 + 1000 * part),
            joint.searches.pool(part),
        )
        for part in worker.share(PARTS)
    ]

    def step(number: int) -> Mapping[str, Tensor]:
        losses: Mapping[str, Tensor] = {}
        for pool, searched in parts:
            batch, search = (
                network.to_device(network.Batch.of(p.batch(number)), device) for p in (pool, searched)
            )
            with mixed_precision(device):
                whole, losses = joint.losses(batch, search)
            (whole / len(parts)).backward()
        gradient_step(optimizer, worker=worker)
        return losses

    plan = TrainingPlan(folder / CHECKPOINT, arguments.steps, arguments.rate, warmup=100, log_every=50)
    modules = {"thinker": joint.thinker, "eyes": joint.eyes, "ears": joint.ears, "lookups": joint.lookups}
    Training(plan, modules, {"joint": optimizer}, worker).run(step)


if __name__ == "__main__":
    main()
