"""Stage 4, `python -m antiphon_nano.speech.talker.talker_training HOME`: the Talker learns to speak.

Reads HOME/speech with codes and HOME/codec.safetensors, writes HOME/talker.safetensors. Teacher-forced, in
the order of ARIA. Conversations in the prompt come in the second half of the steps, in every third batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_nano import training
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.codec.codec import loaded_codec
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.talker.lesson import batch_of
from antiphon_nano.speech.talker.lesson_book import LessonBook
from antiphon_nano.speech.talker.talker_loss import TalkerLoss
from antiphon_nano.speech.talker.talker_start import fresh_talker, soft_labels
from antiphon_nano.workers.worker import Worker

STEPS = 12_000
_CONVERSATION_FROM, _CONVERSATION_EVERY = 0.5, 3
_RATE = 2e-3
_RATE_ON = 6e-4
"""Learning rate for a Talker that is trained further."""


class TalkerTraining:
    """One batch of lessons per step. `alone`: number of first steps without conversations."""

    def __init__(
        self,
        book: LessonBook,
        loss: TalkerLoss,
        optimizer: torch.optim.Optimizer,
        worker: Worker,
        alone: int,
    ) -> None:
        self._book = book
        self._loss = loss
        self._optimizer = optimizer
        self._worker = worker
        self._alone = alone

    def step(self, number: int) -> Mapping[str, Tensor]:
        conversation = number >= self._alone and number % _CONVERSATION_EVERY == 0
        lessons = self._book.lessons(number * self._worker.count + self._worker.rank, conversation)
        losses = self._loss(batch_of(lessons).to(self._loss.talker.device))
        training.clipped_step(self._optimizer, losses.pop("total"), worker=self._worker)
        return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--on", type=Path, metavar="CHECKPOINT", help="train the Talker of this checkpoint further"
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    worker = Worker.joined()
    home: Path = arguments.home
    codebooks = loaded_codec(home).quantizer.codebooks
    tokenizer = nano_tokenizer()
    device = training.best_device()
    if arguments.on:
        whole = Qwen3_5OmniMoeForConditionalGeneration.from_pretrained(arguments.on, dtype=torch.float32)
        talker, rate, alone = whole.talker.to(device), _RATE_ON, 0
    else:
        talker = fresh_talker(nano(tokenizer.get_vocab()).talker_config, codebooks).to(device)
        rate, alone = _RATE, int(arguments.steps * _CONVERSATION_FROM)
    loss = TalkerLoss(talker, soft_labels(codebooks)).to(device)
    parameters = [*talker.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.95), weight_decay=0.02, fused=True)
    plan = training.TrainingPlan(home / "talker.safetensors", arguments.steps, rate=rate, floor=0.02)
    run = training.Training(plan, {"talker": talker, "loss": loss}, {"talker": optimizer}, worker)
    talker.train()
    loss.train()
    book = LessonBook(Recordings(home / "speech"), tokenizer)
    run.run(TalkerTraining(book, loss, optimizer, worker, alone).step)


if __name__ == "__main__":
    main()
