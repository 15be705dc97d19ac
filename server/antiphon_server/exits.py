"""How the process ends: its exit codes, and the one-line error of a start that cannot succeed."""

from __future__ import annotations

import os
import sys
import threading
from enum import IntEnum
from typing import TextIO

OLDEST_PYTHON = (3, 11)


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


MEANING: dict[ExitCode, str] = {
    ExitCode.OK: "done; after SIGTERM: every answer was finished",
    ExitCode.FAULT: "an unexpected error",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.BAD_CONFIG: "a setting is wrong",
    ExitCode.WRONG_PYTHON: "this Python is too old",
    ExitCode.INSECURE: "an address that others can reach needs an API key, or --insecure",
    ExitCode.PORT_BUSY: "the port is taken",
    ExitCode.NO_MODEL: "there is no such model folder",
    ExitCode.NOT_A_CHECKPOINT: "the folder holds no usable checkpoint",
    ExitCode.UNSUPPORTED_MODEL: "the model's architecture is not supported",
    ExitCode.NO_SPACE: "too little disk space",
    ExitCode.NO_FFMPEG: "ffmpeg is missing",
    ExitCode.ENGINE_FAILED: "the engine did not start",
    ExitCode.ENGINE_DIED: "a stage of the engine died while serving",
    ExitCode.UNFINISHED: "stopped before every answer was finished",
    ExitCode.WEAK_SANDBOX: "media decoders cannot be confined on this machine",
}


class StartupError(Exception):
    """Why nothing can be started. `hint` says what to do about it."""

    def __init__(self, code: ExitCode, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


def print_error(error: StartupError, err: TextIO | None = None) -> ExitCode:
    """Say it on `err`, standard error by default; the exit code is the error's."""
    print(f"antiphon: {error}", file=err or sys.stderr, flush=True)
    return error.code


def force_exit_after(seconds: float, code: int) -> None:
    """End the process with `code` after `seconds`, should a thread or an exit handler hold it up."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
