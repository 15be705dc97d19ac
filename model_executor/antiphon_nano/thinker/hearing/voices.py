"""The voices that antiphon-nano listens to: the teacher's two, and those of three installed programs.

Texts to float32 at 24 kHz. The programs are flite, festival and espeak-ng.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from antiphon_nano.teacher.hibari import DEEP, HEART, Teacher, Voice
from antiphon_nano.teacher.shard import FRAME_SAMPLES, SAMPLE_RATE_HZ

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reader:
    """`read`: texts to their audio, in order."""

    name: str
    read: Callable[[Sequence[str]], list[Sound]]


def every() -> list[Reader]:
    """All voices, the teacher's first."""
    teacher = Teacher()
    flite = [Reader(f"flite-{name}", _each(_flite, name)) for name in ("slt", "rms", "awb", "kal16")]
    espeak = [
        Reader(f"espeak-{name}", _each(_espeak, name)) for name in ("en-us", "en-us+f3", "en-gb", "en-us+m3")
    ]
    return [
        Reader("heart", lambda texts: [teacher.natural(text) for text in texts]),
        Reader("deep", lambda texts: [_deep(teacher, text) for text in texts]),
        *flite,
        *espeak,
        Reader("festival-slt", _festival),
    ]


def whole_frames(sound: Sound) -> Sound:
    """Pads with silence to whole frames of a shard."""
    filled = np.zeros(-(-len(sound) // FRAME_SAMPLES) * FRAME_SAMPLES, np.float32)
    filled[: len(sound)] = sound
    return filled


def _deep(teacher: Teacher, text: str, voices: tuple[Voice, Voice] = (DEEP, HEART)) -> Sound:
    """Aligned speech; if the text cannot be aligned, the lowered natural reading."""
    try:
        return teacher.speak(text, voices[0]).sound
    except ValueError:
        return teacher.natural(text)


def _each(speak: Callable[[str, str, Path], None], name: str) -> Callable[[Sequence[str]], list[Sound]]:
    def read(texts: Sequence[str]) -> list[Sound]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.wav"
            sounds = []
            for text in texts:
                speak(name, text, path)
                sounds.append(_samples(path))
            return sounds

    return read


def _flite(name: str, text: str, path: Path) -> None:
    subprocess.run(["flite", "-voice", name, "-t", text, "-o", str(path)], check=True)


def _espeak(name: str, text: str, path: Path) -> None:
    subprocess.run(["espeak-ng", "-v", name, "-s", "155", "-w", str(path), text], check=True)


def _festival(texts: Sequence[str]) -> list[Sound]:
    """All texts in one process: starting it takes longer than a sentence."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(len(texts))]
        lines = [
            f'(utt.save.wave (utt.synth (Utterance Text "{text.replace(chr(34), "")}")) "{path}" \'riff)'
            for text, path in zip(texts, paths, strict=True)
        ]
        script = Path(folder) / "read.scm"
        script.write_text("\n".join(["(voice_cmu_us_slt_arctic_hts)", *lines]) + "\n")
        subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True)
        return [_samples(path) for path in paths]


def _samples(path: Path) -> Sound:
    """A mono WAV of 16-bit samples, at the rate of shards and at a usual level."""
    with wave.open(str(path), "rb") as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    common = gcd(rate, SAMPLE_RATE_HZ)
    sound = resample_poly(samples, SAMPLE_RATE_HZ // common, rate // common).astype(np.float32)
    return sound * np.float32(0.7 / max(0.05, float(np.abs(sound).max())))
