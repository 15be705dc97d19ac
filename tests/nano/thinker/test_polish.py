"""The Thinker's last stage: a running mean that starts from the stage before or from a checkpoint."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker.dialogue import Writer
from antiphon_nano.thinker.lessons.media_sources import ImaginedMedia
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.stages import polish
from antiphon_nano.training import weights


def thinker() -> Thinker:
    return network.nano_thinker(network.nano_config(nano_tokenizer()))


def test_the_mean_begins_as_the_learner_and_follows_it() -> None:
    learner = thinker()
    mean = polish.running_mean(learner)
    before = learner.lm_head.weight.detach().clone()
    with torch.no_grad():
        learner.lm_head.weight += 1.0
    mean.update_parameters(learner)
    assert (mean.module.lm_head.weight - before).mean().item() == pytest.approx(0.002, abs=1e-4)


def test_the_mean_reaches_back_over_some_five_hundred_steps() -> None:
    learner = nn.Linear(4, 4)
    mean = polish.running_mean(learner)
    before = learner.weight.detach().clone()
    with torch.no_grad():
        learner.weight += 1.0
    for _ in range(500):
        mean.update_parameters(learner)
    assert (mean.module.weight - before).mean().item() == pytest.approx(1 - 0.998**500, abs=1e-3)


def test_its_lessons_can_be_encoded() -> None:
    tokenizer = nano_tokenizer()
    writer = Writer(tokenizer, network.nano_config(tokenizer))
    for number in range(40):
        assert writer.sample(polish.lesson(ImaginedMedia(), random.Random(number))).answers.any()


@pytest.mark.parametrize("where", ["the stage before", "a checkpoint"])
def test_it_starts_from_the_stage_before_or_a_checkpoint(stages: Path, exported: Path, where: str) -> None:
    given = thinker()
    polish.load_start(given, stages, exported if where == "a checkpoint" else None)
    learned = weights(stages / "thinker.safetensors", "thinker")
    for name, tensor in given.state_dict().items():
        torch.testing.assert_close(tensor, learned[name], rtol=0, atol=0)


def test_the_polished_thinker_is_exported_if_there_is_one(tmp_path: Path) -> None:
    assert polish.thinker_file(tmp_path).name == "thinker.safetensors"
    (tmp_path / polish.CHECKPOINT).touch()
    assert polish.thinker_file(tmp_path).name == polish.CHECKPOINT
