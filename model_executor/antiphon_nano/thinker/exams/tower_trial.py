"""Exam of the towers alone, `python -m antiphon_nano.thinker.exams.tower_trial FOLDER`.

Reads the stages "eyes" and "ears", writes figures and gates to FOLDER/thinker-report.json. What a tower's
auxiliary heads cannot read, the Thinker will hardly learn to read.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.judging import transcript
from antiphon_nano.judging.report import record
from antiphon_nano.thinker.dialogue import Clip, Picture
from antiphon_nano.thinker.exams.evaluation import REPORT
from antiphon_nano.thinker.heads.tower_heads import AudioHeads, VisionHeads
from antiphon_nano.thinker.hearing.augmentation import Recording, heard
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.network import network
from antiphon_nano.thinker.seeing import clips, pictures
from antiphon_nano.thinker.stages import ears_training, eyes_training
from antiphon_nano.training import weights

EYES_GATE, EARS_GATE = 95.0, 20.0
"""Minimum percent of things read right; maximum word error rate on the teacher's sentences."""
_MEDIA = 128


@torch.no_grad()
def seen(folder: Path, thinker: Thinker, show: Callable[[random.Random], Picture | Clip]) -> float:
    """Percent of things whose colour and shape are read right at their centres, in new media."""
    path = folder / eyes_training.CHECKPOINT
    aids = VisionHeads(thinker.config.text_config.hidden_size)
    aids.load_state_dict(weights(path, "aids"))
    thinker.visual.load_state_dict(weights(path, "visual"))
    media = [show(random.Random(f"judged {number}")) for number in range(_MEDIA)]
    return 100 * float(aids(network.vision_rows(thinker.visual, media), media)["seen"])


def picture(rng: random.Random) -> Picture:
    return pictures.show(pictures.scene(rng), rng)


def clip(rng: random.Random) -> Clip:
    return clips.show(clips.act(rng), rng)


@torch.no_grad()
def understood(folder: Path, thinker: Thinker, recordings: list[Recording]) -> float:
    """Word error rate of the words read from the audio tower's output, without a language model."""
    path = folder / ears_training.CHECKPOINT
    aids = AudioHeads(thinker.config.audio_config.d_model)
    aids.load_state_dict(weights(path, "aids"))
    tower = thinker.audio_tower
    tower.load_state_dict(weights(path, "audio_tower"))
    read = []
    for recording in recordings:
        rows = network.audio_states(tower, [heard(recording).mel])
        read.append(" ".join(aids.read(rows, [len(rows)])[0]))
    return transcript.score([recording.text for recording in recordings], read).word_error_rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    torch.set_num_threads(1)
    thinker = network.nano_thinker(network.nano_config(nano_tokenizer())).eval()
    if (folder / eyes_training.CHECKPOINT).exists():
        share = seen(folder, thinker, picture)
        figures = {"right": round(share, 2), "gate": EYES_GATE, "passed": share >= EYES_GATE}
        record(folder / REPORT, "eyes alone", figures)
        # No gate: questions about clips need fewer things than a clip has, and the joint stage trains on more
        # clips.
        record(folder / REPORT, "eyes alone, clips", {"right": round(seen(folder, thinker, clip), 2)})
    if (folder / ears_training.CHECKPOINT).exists():
        library = Library(folder / "speech", folder / "asked", "judged")
        for voice in library.voices:
            lines = [line.recording for kind in library.kinds(voice) for line in library.of(voice, kind)]
            rate = understood(folder, thinker, lines)
            figures = {"wer": round(rate, 2), "gate": EARS_GATE, "passed": rate <= EARS_GATE}
            record(folder / REPORT, f"ears alone, {voice}", figures)


if __name__ == "__main__":
    main()
