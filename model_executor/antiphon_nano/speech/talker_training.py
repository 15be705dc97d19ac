"""Stage 4, `python -m antiphon_nano.speech.talker_training HOME`: the Talker learns to speak in two voices.

In: HOME/speech with codes, HOME/codec.safetensors. Out: HOME/talker.safetensors. ARIA's order from the start;
teacher-forced; the conversation in the prompt comes late, when the Talker knows how to speak.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from antiphon_executor.qwen3_5_omni.presets import nano
from antiphon_nano import training
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.codec import loaded_codec
from antiphon_nano.speech.lesson import batch_of
from antiphon_nano.speech.lesson_book import LessonBook
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.talker_loss import TalkerLoss
from antiphon_nano.speech.talker_start import fresh_talker, soft_labels

STEPS = 6000
_CONVERSATION_FROM = 0.6


class TalkerTraining:
    """One batch of lessons a step."""

    def __init__(
        self, book: LessonBook, loss: TalkerLoss, optimizer: torch.optim.Optimizer, steps: int
    ) -> None:
        self._book = book
        self._loss = loss
        self._optimizer = optimizer
        self._alone = int(steps * _CONVERSATION_FROM)

    def step(self, number: int) -> Mapping[str, Tensor]:
        batch = batch_of(self._book.lessons(number, number >= self._alone)).to(self._loss.talker.device)
        losses = self._loss(batch)
        training.clipped_step(self._optimizer, losses.pop("total"))
        return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    home: Path = arguments.home
    codebooks = loaded_codec(home).quantizer.codebooks
    tokenizer = nano_tokenizer()
    device = training.best_device()
    talker = fresh_talker(nano(tokenizer.get_vocab()).talker_config, codebooks).to(device)
    loss = TalkerLoss(talker, soft_labels(codebooks)).to(device)
    parameters = [*talker.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.95), weight_decay=0.02, fused=True)
    plan = training.Plan(home / "talker.safetensors", arguments.steps, rate=2e-3, floor=0.02)
    run = training.Training(plan, {"talker": talker, "loss": loss}, {"talker": optimizer})
    talker.train()
    loss.train()
    book = LessonBook(Recordings(home / "speech"), tokenizer)
    run.run(TalkerTraining(book, loss, optimizer, arguments.steps).step)


if __name__ == "__main__":
    main()
