"""Capture of what libraries and engine processes write to standard output and error, as records of our log.

The output may quote requests: while serving, only its amount is logged, or all by `logs.exception_messages`.
A thread reads the pipe, so that no writer ever blocks.
"""

from __future__ import annotations

import builtins
import fcntl
import logging
import os
import re
import select
import threading
import time
from collections import deque
from typing import TextIO

from antiphon_server.config.settings import LogSettings
from antiphon_server.process.console import Console

_PIPE_BYTES = 1 << 20
_LINE_BYTES = 4_096
_TAIL_LINES = 500
_LINES_PER_S = 100
_SUMMARY_EVERY_S = 10.0
_CLOSE_S = 1.0
# vLLM's prefix: process, level, time and source line.
_PREFIX = re.compile(r"^(\([^)]*\)\s*)?((ERROR|WARNING|INFO|DEBUG) [\d-]+ [\d:.]+ \[[^\]]*\]\s*)?")
_ERROR = re.compile(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception)): ?(.*)")
_WRAPPERS = ("Engine core initialization failed", "EngineCore encountered an issue")
_KNOWN_ERRORS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
) | {"OutOfMemoryError", "AcceleratorError", "EngineDeadError"}

_log = logging.getLogger("antiphon.foreign")


class OutputCapture:
    """Replaces descriptors 1 and 2 by a pipe, which child processes inherit."""

    def __init__(self, settings: LogSettings) -> None:
        self._shows_requests = settings.exception_messages
        self._serving = False
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._partial = b""
        self._summary = _Summary()
        self._budget = _LineBudget()
        self._stop_reader, self._stop_writer = os.pipe()
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="foreign-output", daemon=True)
        self._originals: tuple[int, int] | None = None

    def start(self) -> Console:
        """Start to capture. Our own lines go to the console that is returned."""
        try:
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            _log.debug("the size of the output pipe could not be raised")
        os.set_blocking(self._reader, False)
        out, err = os.dup(1), os.dup(2)
        self._originals = (out, err)
        for descriptor in (1, 2):
            os.dup2(self._writer, descriptor)
        self._thread.start()
        return Console(_text(out), _text(err))

    def begin_serving(self) -> None:
        """From now on the output may quote requests, so its text is no longer logged."""
        self._serving = True
        self._tail.clear()

    def startup_error(self) -> str | None:
        """The last error that was written while the server started, in one line."""
        time.sleep(0.05)  # for the thread to read the last lines of an engine process that has just ended
        for line in reversed(self._tail):
            found = _ERROR.match(_PREFIX.sub("", line))
            if found and not any(wrapper in line for wrapper in _WRAPPERS):
                return f"{found[1]}: {found[2]}".rstrip(": ")
        return None

    def close(self) -> None:
        """Log the rest. Descriptors 1 and 2 stay captured: what libraries write at exit is lost."""
        os.write(self._stop_writer, b".")
        self._thread.join(_CLOSE_S)

    def restore(self) -> None:
        """Close, and restore descriptors 1 and 2, for a traceback of our own."""
        self.close()
        for original, descriptor in zip(self._originals or (), (1, 2), strict=False):
            os.dup2(original, descriptor)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(self._stop_reader, select.POLLIN)
        stopped = False
        while not stopped:
            ready = {descriptor for descriptor, _ in poll.poll(1_000)}
            stopped = self._stop_reader in ready
            # The reader must survive any input: without it the pipe fills, and the engines block.
            try:
                self._drain()
                self._report(at_once=stopped)
            except Exception as error:
                _log.error("output of libraries was lost", exc_info=error)

    def _drain(self) -> None:
        while True:
            try:
                chunk = os.read(self._reader, 1 << 16)
            except BlockingIOError:
                return
            *lines, rest = (self._partial + chunk).split(b"\n")
            self._partial = rest[:_LINE_BYTES]
            self._summary.unfinished_bytes += max(0, len(rest) - _LINE_BYTES)
            for line in lines:
                self._record(line)

    def _record(self, line: bytes) -> None:
        if not line.strip():
            return
        text = line[:_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if self._serving and not self._shows_requests:
            self._summary.add(line, text)
            return
        self._tail.append(text)
        if self._budget.allows():
            _log.log(logging.INFO if self._serving else logging.DEBUG, "%s", text)
        else:
            self._summary.add(line, text)

    def _report(self, *, at_once: bool) -> None:
        fields = self._summary.due(at_once=at_once)
        if fields is not None:
            level = logging.WARNING if fields["errors"] else logging.INFO
            message = "libraries wrote to the console; --logs.exception-messages shows their words"
            _log.log(level, message, extra={"fields": fields})


def _text(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", encoding="utf-8", errors="backslashreplace")


class _Summary:
    """The output that is not logged: lines, bytes, and names of well-known errors."""

    def __init__(self) -> None:
        self._next_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self.unfinished_bytes = 0
        self._lines = 0
        self._bytes = 0
        self._errors: set[str] = set()

    def add(self, line: bytes, text: str) -> None:
        self._lines += 1
        self._bytes += len(line)
        found = _ERROR.match(_PREFIX.sub("", text))
        if found and found[1] in _KNOWN_ERRORS:
            self._errors.add(found[1])

    def due(self, *, at_once: bool) -> dict[str, object] | None:
        """The fields of a record every ten seconds, or `at_once`; None if there is nothing to report."""
        now = time.monotonic()
        if not self._lines or (now < self._next_at and not at_once):
            return None
        fields: dict[str, object] = {
            "lines": self._lines,
            "bytes": self._bytes + self.unfinished_bytes,
            "errors": ",".join(sorted(self._errors)),
        }
        self._begin()
        self._next_at = now + _SUMMARY_EVERY_S
        return fields


class _LineBudget:
    """At most `_LINES_PER_S` lines in any second."""

    def __init__(self) -> None:
        self._second = 0
        self._used = 0

    def allows(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._used = second, 0
        self._used += 1
        return self._used <= _LINES_PER_S
