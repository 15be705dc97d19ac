"""Stage 4b, `python -m antiphon_nano.speech.talker_rehearsal HOME`: the Talker learns from being listened to.

In: the trained Talker and vocoder, the joint stage's ears, HOME/speech for its texts. Out:
HOME/rehearsed.safetensors. It says each new text in several ways; those that the Thinker's ears understand
better than the others become likelier, the others less (group-relative policy gradient: Shao et al. 2024,
DeepSeekMath, section 4.1, one step for each draw). Teacher-forced, it never meets what its own errors lead
to.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2Tokenizer
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.qwen3_5_omni.presets import nano
from antiphon_executor.reference.talker import Talker
from antiphon_nano import training
from antiphon_nano.domain import corpus
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech import unheard
from antiphon_nano.speech.lesson import Lesson, batch_of
from antiphon_nano.speech.lesson_book import LessonBook
from antiphon_nano.speech.listener import Listener
from antiphon_nano.speech.recordings import Recordings, chance_of
from antiphon_nano.speech.rehearsal_loss import RehearsalLoss, Rehearsed
from antiphon_nano.speech.takes import Take, takes
from antiphon_nano.speech.talker_loss import stream_rows
from antiphon_nano.speech.trained import REHEARSED, TALKER, reference, vocoder_file
from antiphon_nano.speech.vocoder_training import sounds_of
from antiphon_nano.thinker import joint_training
from antiphon_nano.workers import Worker

STEPS = 240
TEXTS, TAKES = 8, 8
"""Of a step, and of each of its texts."""
TEMPERATURE = 0.7
_WORST = 4.0
"""Nats a word: what is understood worse than that is not understood."""
_STEADY = 0.15
"""Nats a word, beside the spread of a text's takes: where all are good, little is to be learned."""
_FRAMES_A_TOKEN, _FRAMES_AROUND = 10, 20
_LONGEST = 26
_LOT = 48
_ROWS = 1600
"""Rows that run at once."""


class Rehearsal:
    """`talker` is taught; `before` is what it was; `voices`: reference frames, one voice a step in turn."""

    def __init__(
        self,
        talker: Talker,
        before: Talker,
        vocoder: Qwen3OmniMoeCode2Wav,
        listener: Listener,
        book: LessonBook,
        voices: Sequence[NDArray[np.int64]],
        tokenizer: Qwen2Tokenizer,
    ) -> None:
        self._talker, self._vocoder = talker, vocoder
        self._loss = RehearsalLoss(talker, before, TEMPERATURE)
        self._listener, self._book, self._voices = listener, book, voices
        self._tokenizer = tokenizer
        self._end = tokenizer.get_vocab()["<tts_text_eod>"]

    def losses(self, number: int) -> Mapping[str, Tensor]:
        """Gradients of one step, and figures of it. `missed`: nats a word of all takes."""
        prompt = self._book.prompt(
            self._voices[number % len(self._voices)], number, conversation=number % 2 == 0
        )
        texts = self._texts(number)
        tokens = [(*self._tokenizer.encode(text), self._end) for text in texts for _ in range(TAKES)]
        most = _FRAMES_AROUND + _FRAMES_A_TOKEN * max(len(text) for text in tokens)
        said = takes(self._talker, self._prompt_rows(prompt), tokens, TEMPERATURE, most)
        missed = self._missed(said, [text for text in texts for _ in range(TAKES)])
        rehearsed = [
            Rehearsed(_lesson(prompt, take), advantage, take.ended)
            for take, advantage in zip(said, advantages(missed), strict=True)
        ]
        frames = sum(len(take.codes) for take in said)
        means: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        for part in _parts([one for one in rehearsed if one.lesson.codes.size]):
            losses = self._loss(part)
            (losses.pop("total") / frames).backward()
            for name, loss in losses.items():
                means[name] = means[name] + loss.detach() / frames
        return {"missed": missed.mean(), "best": missed.view(-1, TAKES).min(1).values.mean(), **means}

    def _texts(self, number: int) -> list[str]:
        """Of like length, so that their streams end together."""
        drawn = [text for text, _ in zip(_short(self._tokenizer, number), range(_LOT), strict=False)]
        drawn.sort(key=len)
        start = int(chance_of(5, number).integers(_LOT - TEXTS + 1))
        return drawn[start : start + TEXTS]

    @torch.no_grad()
    def _prompt_rows(self, prompt: Lesson) -> Tensor:
        batch = batch_of([replace(prompt, text=(self._end,), starts=(0,), codes=prompt.voice[:1],
                                  phonemes=np.zeros(1, np.int64))])  # fmt: skip
        length = int(batch.begins[0].nonzero()) + 1
        known = batch.frames[..., 0] >= 0
        rows = stream_rows(self._talker, batch, self._talker.frame_rows(batch.frames[known]))
        return rows[0, :length]

    def _missed(self, said: Sequence[Take], texts: Sequence[str]) -> Tensor:
        """[takes], nats a word; the worst for what never ends."""
        missed = torch.full((len(said),), _WORST)
        heard = [place for place, take in enumerate(said) if take.ended and len(take.codes)]
        sounds = sounds_of(self._vocoder, [said[place].codes for place in heard])
        for place, miss in zip(heard, self._listener.misses(sounds, [texts[p] for p in heard]), strict=True):
            missed[place] = min(miss, _WORST)
        return missed


def advantages(missed: Tensor) -> list[float]:
    """`missed` [texts * TAKES], the takes of a text together: by how many spreads each was better."""
    groups = -missed.view(-1, TAKES)
    spread = groups.std(1, keepdim=True) + _STEADY
    found: list[float] = ((groups - groups.mean(1, keepdim=True)) / spread).flatten().tolist()
    return found


def _short(tokenizer: Qwen2Tokenizer, number: int) -> Iterator[str]:
    texts = corpus.trained(1_000_000 + number)
    return (text for text in texts if 3 <= len(tokenizer.encode(text)) <= _LONGEST)


def _lesson(prompt: Lesson, take: Take) -> Lesson:
    """Nothing is known of where its words begin, or of its phonemes: neither is asked for."""
    zeros = np.zeros(len(take.codes), np.int64)
    codes = take.codes.cpu().numpy()
    return replace(prompt, text=take.text, starts=(0,) * (len(take.text) - 1), codes=codes, phonemes=zeros)


def _parts(rehearsed: Sequence[Rehearsed]) -> Iterator[list[Rehearsed]]:
    """Of at most `_ROWS` rows or so each, streams of like length together."""
    part: list[Rehearsed] = []
    for one in sorted(rehearsed, key=lambda r: len(r.lesson.codes)):
        rows = len(one.lesson.codes) + len(one.lesson.closing) + len(one.lesson.voice)
        if part and rows * (len(part) + 1) > _ROWS:
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--rate", type=float, default=1.5e-4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    worker = Worker.joined()
    home: Path = arguments.home
    tokenizer = nano_tokenizer()
    config = nano(tokenizer.get_vocab())
    talker, before = Talker(config.talker_config), Talker(config.talker_config)
    recordings = Recordings(home / "speech")
    spoken = unheard.spoken_tokens(recordings, tokenizer)
    for one in (talker, before):
        one.load_state_dict(training.weights(home / TALKER, "talker"))
        unheard.lend_rows(one, tokenizer, spoken)
        one.model.config._experts_implementation = "eager"
    before.requires_grad_(False)
    vocoder = Qwen3OmniMoeCode2Wav(config.code2wav_config)
    vocoder.load_state_dict(training.weights(vocoder_file(home), "vocoder"))
    voices = [reference(home, voice).numpy() for voice in ("heart", "heart", "deep")]
    book = LessonBook(recordings, tokenizer)
    listener = Listener(home / joint_training.CHECKPOINT)
    rehearsal = Rehearsal(talker, before.eval(), vocoder.eval(), listener, book, voices, tokenizer)
    optimizer = torch.optim.AdamW(talker.parameters(), betas=(0.9, 0.98), weight_decay=0.0, fused=True)

    def step(number: int) -> Mapping[str, Tensor]:
        losses = rehearsal.losses(number * worker.count + worker.rank)
        training.gradient_step(optimizer, worker=worker)
        return losses

    plan = training.Plan(home / REHEARSED, arguments.steps, arguments.rate, warmup=10, log_every=5)
    training.Training(plan, {"talker": talker}, {"talker": optimizer}, worker).run(step)


if __name__ == "__main__":
    main()
