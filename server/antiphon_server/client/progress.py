"""Progress of long work: a bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """One bar. `show` replaces its text; `done` counts from 0; `total` None: not known."""

    def show(self, text: str, done: float = 0, total: float | None = None) -> None: ...


class _NoBar:
    def show(self, text: str, done: float = 0, total: float | None = None) -> None:
        """A pipe or a file gets results alone."""


@contextmanager
def progress_bar() -> Iterator[Bar]:
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield _NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as rows:
        task = rows.add_task("", total=None)

        class _RichBar:
            shown = ""

            def show(self, text: str, done: float = 0, total: float | None = None) -> None:
                # A new text is shown at once; numbers wait for the next refresh.
                is_new, self.shown = text != self.shown, text
                rows.update(task, description=text, completed=done, total=total, refresh=is_new)

        yield _RichBar()
