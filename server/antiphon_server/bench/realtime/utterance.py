"""What the user of a benchmark says: recordings, or questions of chosen lengths spoken by espeak-ng."""

from __future__ import annotations

import io
import random
import subprocess
import wave
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon_server.bench.load.attachments import has_espeak, synthesize_speech
from antiphon_server.bench.options import Options, RealtimeOptions
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg

RATE_HZ = 24_000
# Sound this far below the loudest 10 ms is no speech any more.
_QUIET = 10 ** (-40 / 20)
_STEP = RATE_HZ // 100
_DECODE_S = 60.0
_OF_A_KIND = 4
_WORDS_PER_S = 3
_TRIES = 5
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
# Without punctuation: a pause would end the turn.
_PREAMBLE = (
    "I have thought about this for a while and before you answer I would like to tell you that I was never "
    "very good with numbers and that my brother who is older than me always had to help me when we were at "
    "school so please be patient with me and listen to the end because now comes what I want to know"
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """`kind`: its group in the report. `samples`: at 24 kHz, mono. `speech_end_s`: of its speech."""

    kind: str
    samples: NDArray[np.int16]
    speech_end_s: float


def make_utterances(options: Options, talk: RealtimeOptions) -> list[list[Utterance]]:
    """By kind, several each: the user's recordings, or questions of the lengths asked for.

    Raises StartupError.
    """
    if options.workload.recordings:
        return [[_recorded(path)] for path in options.workload.recordings]
    if not has_espeak():
        raise StartupError(ExitCode.USAGE, "espeak-ng is not installed", "give recordings with --audio")
    dice = random.Random(options.seed)
    return [[_spoken(seconds, dice) for _ in range(_OF_A_KIND)] for seconds in talk.utterances_s]


def speech_end(samples: NDArray[np.int16]) -> int:
    """The sample at which the last sound of speech ends; 0 for silence."""
    whole = samples[: len(samples) // _STEP * _STEP].astype(np.float32).reshape(-1, _STEP)
    levels = np.sqrt((whole**2).mean(axis=1)) if len(whole) else np.zeros(1, np.float32)
    loud = np.flatnonzero(levels > max(levels.max() * _QUIET, 1.0))
    return int(loud[-1] + 1) * _STEP if len(loud) else 0


def _utterance(kind: str, samples: NDArray[np.int16]) -> Utterance:
    return Utterance(kind, samples, speech_end(samples) / RATE_HZ)


def _recorded(path: Path) -> Utterance:
    samples = _decode(path)
    if not speech_end(samples):
        raise StartupError(ExitCode.USAGE, f"the recording {path} is silent")
    return _utterance(path.name, samples)


def _spoken(seconds: float, dice: random.Random) -> Utterance:
    """A sum, behind as many words as fill the time."""
    question = f"What is {dice.choice(_NUMBERS)} plus {dice.choice(_NUMBERS)}?"
    made: dict[int, Utterance] = {}
    words = 0
    while words not in made and len(made) < _TRIES:
        text = " ".join([*islice(cycle(_PREAMBLE.split()), words), question])
        made[words] = _utterance(f"{seconds:g} s", _by_espeak(text))
        words = max(0, words + round((seconds - made[words].speech_end_s) * _WORDS_PER_S))
    return min(made.values(), key=lambda one: abs(one.speech_end_s - seconds))


def _by_espeak(text: str) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(synthesize_speech(text).data)) as file:
        pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    samples = np.frombuffer(pcm, "<i2")
    # Of speech at 22 kHz, linear interpolation loses nothing that a recogniser hears.
    at = np.arange(len(samples) * RATE_HZ // rate_hz) * (rate_hz / RATE_HZ)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.int16)


def _decode(path: Path) -> NDArray[np.int16]:
    form = ("-f", "s16le", "-ac", "1", "-ar", str(RATE_HZ), "-")
    try:
        command = [str(find_ffmpeg()), "-v", "error", "-nostdin", "-i", str(path), *form]
        done = subprocess.run(command, check=True, capture_output=True, timeout=_DECODE_S)
    except (FfmpegMissing, subprocess.SubprocessError) as error:
        raise StartupError(ExitCode.USAGE, f"the recording {path} cannot be decoded: {error}") from None
    return np.frombuffer(done.stdout, "<i2")
