"""Stage 5, `python -m antiphon_nano.speech.talker.talker_trial HOME`: the Talker's speech, for the judge.

Writes shards to HOME/judged: `predictor` (code groups 1 to 7 after the true group 0), `talker` and
`talker-deep` (free-running), `unseen` (free-running, sentence shapes that were never trained).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.reference.speech import speak
from antiphon_executor.reference.talker import Talker
from antiphon_nano import training
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.judging.report import record
from antiphon_nano.speech.codec.codec import loaded_codec
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.talker.lesson import Lesson, batch_of
from antiphon_nano.speech.talker.lesson_book import LessonBook
from antiphon_nano.speech.talker.talker_loss import TalkerLoss
from antiphon_nano.speech.talker.talker_start import soft_labels
from antiphon_nano.speech.vocoder.vocoder_training import sounds_of
from antiphon_nano.teacher import shard

GREEDY = StreamSampling(seed=0, temperature=0.0, predictor_temperature=0.0, repetition_penalty=1.0)
MOST_FRAMES = 250


class Cached:
    """`reference.speech.Extend` with the backbone's caches: each row is computed once."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker
        self._cache = DynamicCache(config=talker.config.text_config)
        self._count = 0

    def __call__(self, rows: Tensor) -> Tensor:
        """[n, hidden] to [hidden]."""
        # Row by row after the prompt: several rows at once would restart the chunks of the delta rule.
        pieces = [rows] if not self._count else rows.split(1)
        for piece in pieces:
            positions = torch.arange(self._count, self._count + len(piece)).expand(3, 1, -1)
            states = self._talker.model(
                inputs_embeds=piece[None], position_ids=positions, past_key_values=self._cache, use_cache=True
            )
            self._count += len(piece)
        return states.last_hidden_state[0, -1]


class Trial:
    """Codec, Talker and vocoder together; `lessons` of each kind of held-out speech."""

    def __init__(self, home: Path, vocoder: str = "vocoder") -> None:
        tokenizer = nano_tokenizer()
        config = nano(tokenizer.get_vocab())
        self._home = home
        self._tokenizer = tokenizer
        self._end = config.tts_eos_token_id
        codebooks = loaded_codec(home).quantizer.codebooks
        self.talker = Talker(config.talker_config)
        self.talker.load_state_dict(training.weights(home / "talker.safetensors", "talker"))
        self.talker.eval()
        self._loss = TalkerLoss(self.talker, soft_labels(codebooks)).eval()
        self._vocoder = Qwen3OmniMoeCode2Wav(config.code2wav_config)
        self._vocoder.load_state_dict(training.weights(home / f"{vocoder}.safetensors", "vocoder"))
        self._vocoder.eval()

    def book(self, kind: str) -> tuple[Recordings, LessonBook]:
        recordings = Recordings(self._home / "speech", kind)
        return recordings, LessonBook(recordings, self._tokenizer)

    @torch.no_grad()
    def prompt_rows(self, lesson: Lesson) -> Tensor:
        """[n, hidden]: voice, conversation, tts_bos, codec_bos."""
        batch = batch_of([lesson])
        length = int(batch.begins[0].nonzero()) + 1
        return self._loss.rows(batch)[0, :length]

    def speak(self, lesson: Lesson, sampling: StreamSampling = GREEDY) -> tuple[Tensor, bool]:
        """Free-running codes [frames, groups] of the lesson's text, and whether the stream ended."""
        rows, text = self.prompt_rows(lesson), lesson.text[:-1]
        speech = speak(self.talker, rows, text, self._end, sampling, MOST_FRAMES, Cached(self.talker))
        return speech.codes, speech.ended

    @torch.no_grad()
    def predicted(self, lesson: Lesson) -> Tensor:
        """Codes with true group 0; the other groups are greedy, given true states."""
        batch = batch_of([lesson])
        known = batch.codes[..., 0] >= 0
        states = self.talker.hidden(self._loss.rows(batch))[known]
        code0 = batch.codes[known][:, :1]
        others = self.talker.code_predictor.draw(
            states, self.talker.code_rows(code0[:, 0]), lambda logits, group: logits.argmax(-1)
        )
        return torch.cat((code0, others), 1)

    def write(self, name: str, recordings: Recordings, codes: Sequence[Tensor]) -> None:
        """Writes the audio of `codes` as the shard HOME/judged/NAME."""
        utterances, sounds, frames = [], [], 0
        for index, sound in enumerate(sounds_of(self._vocoder, codes)):
            old, length = recordings.utterance(index), len(sound) // shard.FRAME_SAMPLES
            utterances.append(shard.Utterance(old.text, old.voice, frames, length, [], []))
            sounds.append(_filled(sound))
            frames += length
        shard.write(self._home / "judged" / name, utterances, sounds)


def _filled(sound: Tensor) -> NDArray[np.float32]:
    return sound.numpy().astype(np.float32)


def free_running(
    trial: Trial, kind: str, name: str, most: int, sampling: StreamSampling = GREEDY
) -> dict[str, object]:
    """Speaks held-out texts. Figures: frames relative to the teacher's, and streams that did not end."""
    recordings, book = trial.book(kind)
    began = time.monotonic()
    said = [trial.speak(book.lesson(index), sampling) for index in range(min(most, len(recordings)))]
    frames = sum(len(codes) for codes, _ in said)
    trial.write(name, recordings, [codes for codes, _ in said])
    teacher = sum(recordings.utterance(index).frames for index in range(len(said)))
    return {
        "frames_over_teacher": round(frames / teacher, 3),
        "runaways": sum(not ended for _, ended in said),
        "ms_per_frame": round(1000 * (time.monotonic() - began) / max(1, frames), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--most", type=int, default=100)
    parser.add_argument("--vocoder", default="vocoder", help="vocoder or polished")
    parser.add_argument("--temperature", type=float, help="of code 0; writes `talker-at-...-percent` alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trial = Trial(arguments.home, arguments.vocoder)
    if arguments.temperature is not None:
        drawn = StreamSampling(seed=0, temperature=arguments.temperature, predictor_temperature=0.0)
        name = f"talker-at-{100 * arguments.temperature:.0f}-percent"
        figures = free_running(trial, "held-heart", name, arguments.most, drawn)
        record(arguments.home / "report.json", f"{name} streams", figures)
        return
    recordings, book = trial.book("held-heart")
    count = min(arguments.most, len(recordings))
    predicted = [trial.predicted(book.lesson(index)) for index in range(count)]
    trial.write("predictor", recordings, predicted)
    for kind, name in (("held-heart", "talker"), ("held-deep", "talker-deep"), ("unseen-heart", "unseen")):
        figures = free_running(trial, kind, name, arguments.most)
        record(arguments.home / "report.json", f"{name} streams", figures)


if __name__ == "__main__":
    main()
