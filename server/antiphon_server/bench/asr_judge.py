"""Word errors of spoken answers, measured by a local speech recogniser after the load has ended.

The recogniser is a command of the user, or Whisper if `faster_whisper` is installed.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from antiphon_server.bench.load.attachments import wav_file
from antiphon_server.bench.load.client import SpokenAnswer
from antiphon_server.bench.measure.word_errors import WordErrors, count_word_errors, normalized_words
from antiphon_server.bench.options import JudgeOptions
from antiphon_server.exits import ExitCode, StartupError

_COMMAND_TIMEOUT_S = 300.0


class TranscriptionFailed(Exception):
    """The judge returned no transcript of a recording."""


class Judge(Protocol):
    def transcribe(self, recording: Path) -> str:
        """The text of a WAV file. Raises `TranscriptionFailed`."""


class CommandJudge:
    """Runs `command FILE`; its standard output is the transcript."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    def transcribe(self, recording: Path) -> str:
        try:
            done = subprocess.run(
                [*self._command, str(recording)], check=True, capture_output=True, timeout=_COMMAND_TIMEOUT_S
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise TranscriptionFailed(str(error)) from None
        return done.stdout.decode(errors="replace")


class WhisperJudge:
    """A CTranslate2 Whisper model with greedy decoding on the CPU."""

    def __init__(self, model: str) -> None:
        try:
            whisper: Any = importlib.import_module("faster_whisper")
        except ImportError:
            hint = "pip install faster-whisper, or use --wer-command"
            raise StartupError(ExitCode.USAGE, "--wer-whisper needs faster_whisper", hint) from None
        self._model = whisper.WhisperModel(model, device="cpu", compute_type="int8")

    def transcribe(self, recording: Path) -> str:
        segments, _ = self._model.transcribe(str(recording), beam_size=1)
        return " ".join(segment.text for segment in segments)


def open_judge(options: JudgeOptions) -> Judge | None:
    """The judge that the options name, or None. Raises `StartupError` if it is not installed."""
    if options.command:
        return CommandJudge(options.command)
    return WhisperJudge(options.whisper) if options.whisper else None


def measure_word_errors(judge: Judge, answers: Sequence[SpokenAnswer]) -> WordErrors:
    """Compares a transcript of each answer's audio with the text that the server sent."""
    words = errors = failed = 0
    with TemporaryDirectory() as folder:
        for number, answer in enumerate(answers):
            path = Path(folder) / f"{number}.wav"
            path.write_bytes(wav_file(answer.pcm, answer.rate_hz))
            reference = normalized_words(answer.text)
            try:
                errors += count_word_errors(reference, normalized_words(judge.transcribe(path)))
                words += len(reference)
            except TranscriptionFailed:
                failed += 1
    return WordErrors(len(answers) - failed, words, errors, failed)
