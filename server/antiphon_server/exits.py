"""The exit codes of the process, and the one-line error of a command that cannot succeed."""

from __future__ import annotations

import os
import sys
import threading
from enum import IntEnum
from typing import TextIO

OLDEST_PYTHON = (3, 11)
# A server that has drained closes its parts, and its process ends after this time at the latest.
FORCED_EXIT_S = 20.0


class ExitCode(IntEnum):
    """Documented in `antiphon --help`; never renumbered."""

    OK = 0
    FAULT = 1
    USAGE = 2
    BAD_CONFIG = 3
    WRONG_PYTHON = 4
    INSECURE = 5
    PORT_BUSY = 6
    NO_MODEL = 7
    NOT_A_CHECKPOINT = 8
    UNSUPPORTED_MODEL = 9
    NO_SPACE = 10
    NO_FFMPEG = 11
    ENGINE_FAILED = 12
    ENGINE_DIED = 13
    UNFINISHED = 14
    WEAK_SANDBOX = 15
    SERVER_AWAY = 16
    NO_ACCESS = 17
    REFUSED = 18
    NO_SOUND = 19


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "success; after SIGTERM: all requests were finished",
    ExitCode.FAULT: "an unexpected error",
    ExitCode.USAGE: "the command line is invalid",
    ExitCode.BAD_CONFIG: "a setting is invalid",
    ExitCode.WRONG_PYTHON: "this Python is too old",
    ExitCode.INSECURE: "a public address without an API key or --insecure",
    ExitCode.PORT_BUSY: "the port is in use",
    ExitCode.NO_MODEL: "there is no such model, or it cannot be downloaded",
    ExitCode.NOT_A_CHECKPOINT: "the folder does not hold a usable checkpoint",
    ExitCode.UNSUPPORTED_MODEL: "the model's architecture is not supported",
    ExitCode.NO_SPACE: "too little disk space",
    ExitCode.NO_FFMPEG: "ffmpeg is missing",
    ExitCode.ENGINE_FAILED: "the engine did not start",
    ExitCode.ENGINE_DIED: "a stage of the engine stopped while serving",
    ExitCode.UNFINISHED: "stopped before all requests were finished",
    ExitCode.WEAK_SANDBOX: "media decoders cannot be confined on this machine",
    ExitCode.SERVER_AWAY: "no server answers, or the connection broke",
    ExitCode.NO_ACCESS: "the server refuses the API key",
    ExitCode.REFUSED: "the server refuses the request",
    ExitCode.NO_SOUND: "no microphone, or no player of sound",
}


class StartupError(Exception):
    """A command cannot do what was asked. `hint`: what to do about it."""

    def __init__(self, code: ExitCode, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


def print_error(error: StartupError, err: TextIO | None = None) -> ExitCode:
    """Print it to `err` (standard error by default) and return its exit code."""
    print(f"antiphon: {error}", file=err or sys.stderr, flush=True)
    return error.code


def force_exit_after(seconds: float, code: int) -> None:
    """End the process with `code` after `seconds` if a thread or an exit handler still blocks it."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
