"""Mel frames of the windows of a clip: an hour in memory, the rest in a temporary file without a name."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from antiphon_executor.interface.audio_geometry import FRAME_MS

# An hour: 88 MiB of 128 bins in 16 bits.
KEPT_FRAMES = 3_600_000 // FRAME_MS
# What the files of all clips leave on the disk to others: an hour takes 88 MiB, however many clips there are.
LEAST_FREE_BYTES = 1 << 30

_log = logging.getLogger("antiphon.engine")


@dataclass(frozen=True, slots=True)
class _Stored:
    """A window in the file, from `offset` on."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        return self.shape.numel() * self.dtype.itemsize


class MelWindows:
    """One thread appends, others read. `folder`: of the file; by default the system's for temporary files."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._windows: list[Tensor | _Stored] = []
        self._kept_frames = 0
        self._most_kept: float = KEPT_FRAMES
        self._file: _NamelessFile | None = None
        self._end = 0
        self._floor: float | None = None

    def __len__(self) -> int:
        return len(self._windows)

    def append(self, window: Tensor) -> None:
        """[mel_bins, frames]. Without room on the disk, this one and later ones stay in memory."""
        kept: Tensor | _Stored = window
        if self._kept_frames >= self._most_kept:
            try:
                kept = self._store(window)
            except OSError as error:
                _log.warning("the features of a long recording stay in memory: %s", error.strerror)
                self._most_kept = float("inf")
        self._kept_frames += window.shape[1]
        self._windows.append(kept)

    def with_more(self, windows: Iterable[Tensor]) -> MelWindows:
        """A copy with more windows, which lie in memory."""
        copy = MelWindows(self._folder)
        copy._windows = [*self._windows, *windows]
        copy._file, copy._floor = self._file, self._floor
        return copy

    def set_floor(self, floor: float) -> None:
        """No frame is appended any more, and all are read with this floor."""
        self._floor = floor
        for window in self._windows:
            if isinstance(window, Tensor):
                window.clamp_(min=floor)

    def read(self, number: int, floor: float | None) -> Tensor:
        """Of a window in memory no copy, unless it lacks the floor."""
        window = self._windows[number]
        floor = self._floor if floor is None else floor
        if isinstance(window, _Stored):
            frames = self._load(window)
            return frames if floor is None else frames.clamp_(min=floor)
        return window if floor is None or floor == self._floor else window.clamp(min=floor)

    def _store(self, window: Tensor) -> _Stored:
        if self._file is None:
            self._file = _NamelessFile(self._folder)
        self._file.check_room()
        stored = _Stored(self._end, window.shape, window.dtype)
        rest = memoryview(window.contiguous().view(torch.uint8).numpy()).cast("B")
        while rest:
            written = os.pwrite(self._file.number, rest, stored.offset + stored.size_bytes - len(rest))
            rest = rest[written:]
        self._end += stored.size_bytes
        return stored

    def _load(self, stored: _Stored) -> Tensor:
        if self._file is None:
            raise ValueError("no window has been stored")
        data = bytearray(stored.size_bytes)
        if os.preadv(self._file.number, [data], stored.offset) != len(data):
            raise OSError("the file of a recording's features is too short")
        return torch.frombuffer(data, dtype=stored.dtype).view(stored.shape)


class _NamelessFile:
    """Deleted when nothing refers to it any more."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder or tempfile.gettempdir()
        self.number, name = tempfile.mkstemp(prefix="antiphon-mel-", dir=self._folder)
        weakref.finalize(self, _close_in_thread, self.number).atexit = False
        Path(name).unlink()

    def check_room(self) -> None:
        """Raises OSError if the disk has little left."""
        if shutil.disk_usage(self._folder).free < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _close_in_thread(file: int) -> None:
    """Closing deletes it, which takes a tenth of a second for a gigabyte."""
    threading.Thread(target=os.close, args=(file,)).start()
