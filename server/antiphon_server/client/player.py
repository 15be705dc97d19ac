"""Player of speech while it arrives: a program of the machine that reads samples from its input."""

from __future__ import annotations

import contextlib
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from antiphon_server.exits import ExitCode, StartupError

_RATE_HZ = 24_000
# The first that is installed is used. Each reads mono s16le.
_PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error", "-f", "s16le", "-ar", "{rate}", "-i", "-"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-r", "{rate}", "-c", "1"),
    ("paplay", "--raw", "--format=s16le", "--rate={rate}", "--channels=1"),
)


def player_command(rate_hz: int = _RATE_HZ) -> Sequence[str]:
    """Raises `StartupError` if no player is installed."""
    for program in _PROGRAMS:
        if shutil.which(program[0]):
            return [word.format(rate=rate_hz) for word in program]
    names = ", ".join(program[0] for program in _PROGRAMS)
    raise StartupError(ExitCode.NO_SOUND, f"nothing can play sound here: none of {names} is installed")


class Player:
    """A context that plays what is written, and ends when all is played. An error ends it at once.

    `write` never waits: the program reads at the pace of the sound.
    """

    def __init__(self, rate_hz: int = _RATE_HZ) -> None:
        self._command = player_command(rate_hz)
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `__exit__`
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._said
        )
        self._writer = threading.Thread(target=self._feed, daemon=True)
        self._writer.start()

    def write(self, pcm: bytes) -> None:
        self._pieces.put(pcm)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises `StartupError` if the program failed."""
        if error is not None:
            self._process.kill()
        self._pieces.put(None)
        try:
            code = self._process.wait()
        except KeyboardInterrupt:
            self._process.kill()
            raise
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        self._said.close()
        if code and error is None:
            reason = said[-1] if said else f"exit code {code}"
            raise StartupError(ExitCode.NO_SOUND, f"{self._command[0]} cannot play: {reason}")

    def _feed(self) -> None:
        stdin = self._process.stdin
        # It may have ended, with an error that `__exit__` reports.
        with contextlib.suppress(OSError):
            while stdin is not None and (piece := self._pieces.get()) is not None:
                stdin.write(piece)
        if stdin is not None:
            with contextlib.suppress(OSError):
                stdin.close()
