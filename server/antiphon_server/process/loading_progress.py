"""Progress of loading: one live line on a terminal, one line per step in a plain log, else one log record."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from antiphon_server.config.settings import LogSettings
from antiphon_server.observability.logging import is_plain

if TYPE_CHECKING:
    from rich.progress import Progress

_log = logging.getLogger("antiphon.start")


class LoadingProgress(AbstractContextManager["LoadingProgress"], Protocol):
    """Call it with each step. `log_stream`: where log lines go, so that they do not break a live line."""

    log_stream: TextIO

    def __call__(self, step: str) -> None: ...


def loading_progress(settings: LogSettings, err: TextIO) -> LoadingProgress:
    if not is_plain(settings, err):
        return StepLines(err, _log_step)
    return LiveLine(err) if err.isatty() else StepLines(err, _print_step_to(err))


class StepLines:
    """Writes every step, with the seconds since the start."""

    def __init__(
        self, err: TextIO, write: Callable[[str, float], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.log_stream = err
        self._write = write
        self._clock = clock
        self._started_at = clock()

    def __call__(self, step: str) -> None:
        self._write(step, self._clock() - self._started_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clear."""


class LiveLine:
    """A spinner, the current step and the elapsed time on the last line of a terminal, cleared at the end.

    rich draws it: it handles narrow and dumb terminals. Log lines are printed above it.
    """

    def __init__(self, terminal: TextIO, width: int | None = None) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        console = Console(file=terminal, width=width or _width(terminal), highlight=False)
        step = TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
        )
        self._live = Progress(
            SpinnerColumn(),
            step,
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._live.add_task("")
        self.log_stream: TextIO = _AboveLiveLine(self._live, terminal)

    def __call__(self, step: str) -> None:
        self._live.update(self._task, description=step)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


class _AboveLiveLine(io.TextIOBase, TextIO):
    """The terminal, whose lines appear above the live line while there is one."""

    def __init__(self, live: Progress, terminal: TextIO) -> None:
        self._live = live
        self._terminal = terminal

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if self._live.live.is_started:
            self._live.console.out(text, end="")
            return len(text)
        return self._terminal.write(text)

    def flush(self) -> None:
        self._terminal.flush()


def _width(terminal: TextIO) -> int | None:
    """None if unknown. rich itself would ask standard input and output, which may be redirected."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or None
    except OSError:
        return None


def _print_step_to(out: TextIO) -> Callable[[str, float], None]:
    def print_step(step: str, elapsed_s: float) -> None:
        print(f"[{elapsed_s:6.1f} s] {step}", file=out, flush=True)

    return print_step


def _log_step(step: str, elapsed_s: float) -> None:
    _log.info("%s", step, extra={"fields": {"elapsed_s": round(elapsed_s, 1)}})
