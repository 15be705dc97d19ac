"""Progress of a download, by the bytes on the disk: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

DoneBytes = Callable[[], int]

_GB = 1_000_000_000
_POLL_S = 0.5
_LINE_S = 15.0


class DownloadProgress:
    """`err`: where it is shown. `line_s`: time between two plain lines."""

    def __init__(self, err: TextIO, line_s: float = _LINE_S) -> None:
        self._err = err
        self._line_s = line_s

    @contextmanager
    def watch(self, name: str, blobs: Path, total: int) -> Iterator[None]:
        """Shows how `blobs` grows by `total` bytes, until the block ends."""
        before, stop = _bytes_in(blobs), threading.Event()
        show = self._show_bar if self._err.isatty() else self._show_lines

        def done() -> int:
            return min(max(0, _bytes_in(blobs) - before), total)

        thread = threading.Thread(target=show, args=(name, done, total, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _show_bar(self, name: str, done: DoneBytes, total: int, stop: threading.Event) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(file=self._err, highlight=False)
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress("{task.description}", *columns, console=console) as bar:
            task = bar.add_task(f"downloading {name}", total=total)
            while not stop.wait(_POLL_S):
                bar.update(task, completed=done())
            bar.update(task, completed=done())

    def _show_lines(self, name: str, done: DoneBytes, total: int, stop: threading.Event) -> None:
        began, was = time.monotonic(), 0
        self._print(f"downloading {name}: {total / _GB:.1f} GB")
        while not stop.wait(self._line_s):
            now = done()
            rate = (now - was) / self._line_s / 1_000_000
            was = now
            self._print(
                f"downloading {name}: {now / _GB:.1f} of {total / _GB:.1f} GB "
                f"({100 * now // max(total, 1)} %), {rate:.0f} MB/s"
            )
        if done() >= total:
            self._print(f"downloaded {name} in {time.monotonic() - began:.0f} s")

    def _print(self, line: str) -> None:
        print(line, file=self._err, flush=True)


def _bytes_in(folder: Path) -> int:
    """The size of all files, complete or not."""
    total = 0
    for file in folder.glob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            # It was renamed when it was complete: it counts at the next poll.
            continue
    return total
