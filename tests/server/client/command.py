"""Runs `antiphon` as a process, as a user's shell does."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

Done = subprocess.CompletedProcess[str]
_LIMIT_S = 60


def environment(**changes: str) -> dict[str, str]:
    """Without the developer's own servers, keys and sound."""
    own = ("OPENAI_", "ANTIPHON_", "PULSE_", "XDG_RUNTIME_DIR")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**clean, **changes}


def antiphon(*argv: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Done:
    command = [sys.executable, "-m", "antiphon_server", *argv]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
        env=environment(**(env or {})),
    )


def on_a_terminal(*argv: str, typed: str = "", env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code, and all that the terminal shows."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "antiphon_server", *argv]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm", **(env or {}))
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:
            # The other side is closed: the process has ended.
            pass
        code = process.wait(_LIMIT_S)
    os.close(ours)
    return code, shown.decode(errors="replace")


def program(folder: Path, name: str, script: str) -> Path:
    """A shell script in place of a program of the system: put `folder` first in PATH."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return file
