"""Stage "imagining", `python -m antiphon_nano.thinker.stages.imagining_training FOLDER`: ideal towers.

The Thinker of the stage "text" learns all lessons, with media given as the word embeddings that the stage
"naming" teaches the towers to produce, so no media are needed. Writes `thinker-imagined.safetensors`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextModel

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Dialogue, Sample, Writer
from antiphon_nano.thinker.heads.lookups import Lookups
from antiphon_nano.thinker.heads.naming import Naming
from antiphon_nano.thinker.lessons import lessons
from antiphon_nano.thinker.lessons.media_sources import ImaginedMedia, Source
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages import text_training
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

CHECKPOINT = "thinker-imagined.safetensors"
TOKENS, SEARCHED_TOKENS = 768, 512
"""Tokens of a part of a step with padding: of its lessons, and of its searches."""
PARTS = 2
"""Parts of a step: one worker takes both, two workers take one each."""
LOOKED = 0.5
"""Weight of the lookups' loss."""
_KINDS: tuple[tuple[float, lessons.Maker], ...] = (
    (20, lessons.typed_talk),
    (40, lessons.picture),
    (4, lessons.clip),
    (3, lessons.sounding_clip),
    (10, lessons.spoken_question),
    (24, lessons.transcribed),
    (4, lessons.sounding),
    (6, lessons.seen_and_said),
    (1, lessons.named),
)
"""Mostly lessons that need lookups: pictures and sentences."""


def lesson(source: Source, rng: random.Random) -> Dialogue:
    (maker,) = rng.choices([maker for _, maker in _KINDS], [weight for weight, _ in _KINDS])
    return maker(source, rng)


def imagined(thinker: Thinker, naming: Naming, batch: network.Batch) -> Tensor:
    """The embeddings of a batch, [n, length, hidden], with media as ideal towers give them."""
    table, ids, config = thinker.model.embed_tokens.weight, batch.token_ids, thinker.config
    rows: Tensor = thinker.model.embed_tokens(ids)
    if batch.clips:
        lengths = [thinker.audio_tower.geometry.tokens(clip.mel.shape[1]) for clip in batch.clips]
        rows = network.insert_media(
            rows, ids == config.audio_token_id, naming.ideal_audio(batch.clips, lengths, table)
        )
    for token, media in ((config.image_token_id, batch.pictures), (config.video_token_id, batch.videos)):
        if media:
            rows = network.insert_media(rows, ids == token, naming.ideal_vision(media, table))
    return rows


class Searches:
    """Pictures with searches for all shapes, for the lookups alone: they need only the first layers of
    `model`. `lookups` hooks that model.
    """

    def __init__(self, model: Qwen3_5MoeTextModel, lookups: Lookups, writer: Writer, source: Source) -> None:
        self._looking, self._lookups = lookups.watch(model), lookups
        self._writer, self._source = writer, source

    def pool(self, part: int) -> BatchPool:
        """The batches of a part of a step."""
        return BatchPool(self._draw, SEARCHED_TOKENS, seed=4 + 1000 * part)

    def losses(self, batch: network.Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Losses as `Lookups` returns them. `rows`: [n, length, hidden] of the batch."""
        network.states(self._looking, rows, batch.positions)
        return self._lookups(batch)

    def _draw(self, rng: random.Random) -> Sample:
        return self._writer.sample(lessons.searched(self._source, rng))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    torch.set_num_threads(1)
    torch.manual_seed(0)
    worker = Worker.joined()
    device = best_device()
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    thinker, writer = network.nano_thinker(config), Writer(tokenizer, config)
    naming = Naming(tokenizer, config)
    if not (folder / CHECKPOINT).exists():
        for name in ("model", "lm_head"):
            thinker.get_submodule(name).load_state_dict(weights(folder / text_training.CHECKPOINT, name))
    thinker.to(device)
    thinker.model.embed_tokens.requires_grad_(False)
    source = ImaginedMedia()
    lookups = Lookups(tokenizer, config).to(device)
    searches = Searches(thinker.model, lookups, writer, source)
    balance = network.ExpertBalance(thinker.model)
    optimizer = optimizer_of(thinker.model, thinker.lm_head, lookups)
    parts = [
        (
            BatchPool(lambda rng: writer.sample(lesson(source, rng)), TOKENS, seed=3 + 1000 * part),
            searches.pool(part),
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
                last = network.states(thinker.model, imagined(thinker, naming, batch), batch.positions)
                loss, right = network.answer_loss(thinker, batch, last)
                looked = lookups(batch)[0]
                sought, found = searches.losses(search, imagined(thinker, naming, search))
                balanced = balance.loss()
            whole = loss + 0.01 * balanced + LOOKED * (looked + sought)
            (whole / len(parts)).backward()
            losses = {"loss": loss, "right": right, "balance": balanced, "looked": looked, "found": found}
        gradient_step(optimizer, worker=worker)
        return losses

    plan = TrainingPlan(folder / CHECKPOINT, arguments.steps, arguments.rate, log_every=50)
    modules = {"model": thinker.model, "lm_head": thinker.lm_head, "lookups": lookups}
    Training(plan, modules, {"text": optimizer}, worker).run(step)


if __name__ == "__main__":
    main()
