"""A local judge of speech: sound in, what it hears out. It runs when the measuring is over.

In: answers with their texts. Out: word errors. The judge is a command of the user's, or Whisper where
`faster_whisper` is installed.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from antiphon_server.bench.load.attachments import wave_file
from antiphon_server.bench.load.client import Said
from antiphon_server.bench.measure.word_errors import WordErrors, count_errors, words_of
from antiphon_server.bench.options import Judging
from antiphon_server.exits import ExitCode, StartupError

_COMMAND_S = 300.0


class DeafJudge(Exception):
    """It could not hear this recording."""


class Judge(Protocol):
    def hear(self, recording: Path) -> str: ...


class CommandJudge:
    """`command FILE` prints what it hears."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    def hear(self, recording: Path) -> str:
        try:
            done = subprocess.run(
                [*self._command, str(recording)], check=True, capture_output=True, timeout=_COMMAND_S
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise DeafJudge(str(error)) from None
        return done.stdout.decode(errors="replace")


class WhisperJudge:
    """A CTranslate2 model, greedy, on the CPU."""

    def __init__(self, model: str) -> None:
        try:
            whisper: Any = importlib.import_module("faster_whisper")
        except ImportError:
            hint = "pip install faster-whisper, or give --wer-command"
            raise StartupError(ExitCode.USAGE, "--wer-whisper needs faster_whisper", hint) from None
        self._model = whisper.WhisperModel(model, device="cpu", compute_type="int8")

    def hear(self, recording: Path) -> str:
        segments, _ = self._model.transcribe(str(recording), beam_size=1)
        return " ".join(segment.text for segment in segments)


def open_judge(judging: Judging) -> Judge | None:
    """Raises `StartupError`, before anything is measured for it."""
    if judging.command:
        return CommandJudge(judging.command)
    return WhisperJudge(judging.whisper) if judging.whisper else None


def judge_all(judge: Judge, said: Sequence[Said]) -> WordErrors:
    """What was said against the text that the server sent with it."""
    words = errors = failed = 0
    with TemporaryDirectory() as folder:
        for number, answer in enumerate(said):
            path = Path(folder) / f"{number}.wav"
            path.write_bytes(wave_file(answer.pcm, answer.rate_hz))
            meant = words_of(answer.text)
            try:
                errors += count_errors(meant, words_of(judge.hear(path)))
                words += len(meant)
            except DeafJudge:
                failed += 1
    return WordErrors(len(said) - failed, words, errors, failed)
