"""The store of decoded video frames: a bounded folder of temporary files, from which the engine reads.

A video stays for further questions about it until others need its room.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from antiphon_executor.interface.media import AudioClip, StoredClip, StoredFrames, VideoClip
from antiphon_server.errors import InternalError, Overloaded, Unavailable
from antiphon_server.media.part import Part
from antiphon_server.media.policy import KEPT_SOUND_BYTES, flag
from antiphon_server.media.sandbox.job import SAMPLE_BYTES

# An aborted request may read its frames until the engine's next step.
_GRACE_S = 30.0
_PREFIX = "antiphon-frames-"
_NEW_PREFIX = "antiphon-new-frames-"
# A server locks its new folder and renames it within this time.
_STARTS_S = 60.0
_MIB = 1 << 20
# A request that is cancelled meanwhile writes no more than this.
_WRITE_BYTES = 8 * _MIB

_log = logging.getLogger("antiphon.media")


@dataclass(slots=True)
class _File:
    """`readers`: requests that may read it. `idle_since_s`: when the last one ended."""

    name: str
    size_bytes: int
    readers: int = 0
    idle_since_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class _Known:
    """A video whose frames are in the file of its key."""

    shape: tuple[int, int, int, int]
    frames_per_second: float
    audio: AudioClip | StoredClip | None

    @property
    def sound_bytes(self) -> int:
        return self.audio.num_samples * SAMPLE_BYTES if self.audio is not None else 0


class _Lease:
    """Keeps a file while it is referred to."""

    __slots__ = ("__weakref__",)


class FrameStore:
    """Belongs to one event loop; leases may end in any thread. `clock`: monotonic seconds."""

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._folder: Path | None = None
        self._lock: int | None = None
        self._numbers = 0
        self._reserved_bytes = 0
        # In the order of use, the one that was used last at the end.
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._released: deque[tuple[str, float]] = deque()

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, and those that are reserved for videos that are being decoded."""
        return self._reserved_bytes + sum(file.size_bytes for file in self._files.values())

    def start(self, parent: Path | None = None) -> None:
        """Opens a new folder in `parent`, and deletes those of servers that were killed. Raises OSError.

        `parent`: by default the system's folder of temporary files.
        """
        parent = parent or Path(tempfile.gettempdir())
        # Another server that starts now must not find the folder before it is locked.
        unlocked = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=parent))
        made_s = unlocked.stat().st_mtime
        _delete_abandoned(parent.glob(f"{_PREFIX}*"))
        _delete_abandoned(new for new in parent.glob(f"{_NEW_PREFIX}*") if _mtime_s(new) < made_s - _STARTS_S)
        self._lock = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._folder = unlocked.rename(parent / unlocked.name.replace(_NEW_PREFIX, _PREFIX))

    def close(self) -> None:
        if self._folder is not None and self._lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = self._lock = None
        self._files.clear()
        self._known.clear()

    def find(self, key: str) -> VideoClip | None:
        """The video of this key, if its frames are still there."""
        known = self._known.get(key)
        if known is None or not self._is_whole(key):
            return None
        self._known.move_to_end(key)
        return VideoClip(self._lease(key, known.shape), known.frames_per_second, known.audio)

    def remember(self, key: str, video: VideoClip) -> None:
        """Keeps a video of this store, until its file or the memory of its sound is needed."""
        if isinstance(video.frames, StoredFrames):
            self._known[key] = _Known(video.frames.shape, video.frames_per_second, video.audio)
        while sum(known.sound_bytes for known in self._known.values()) > KEPT_SOUND_BYTES:
            self._known.popitem(last=False)

    @contextmanager
    def write(self, part: Part, key: str) -> Iterator[FrameWriter]:
        """A new file. It is deleted at the end of the block unless `FrameWriter.finish` was called."""
        if self._folder is None:
            raise InternalError("the store of frames has not been started")
        self._numbers += 1
        path = self._folder / f"part-{self._numbers}"
        with _full_disk_as_unavailable():
            writer = FrameWriter(self, part, key, path)
        try:
            yield writer
        finally:
            self._reserved_bytes -= writer.reserved_bytes
            writer.close()
            if writer.is_shared:
                self._keep_unfinished(key, path)
            _delete_later(path)

    def reserve(self, part: Part, size_bytes: int) -> None:
        """Makes room, also on a disk that has less of it than the store may use.

        Raises BadRequest for more than the store holds, Overloaded if others need it now.
        """
        if size_bytes > self._limit_bytes:
            got = f"has {size_bytes / _MIB:.0f} MiB of decoded frames"
            limit = f"{self._limit_bytes / _MIB:g} MiB"
            raise part.limit_error(got, limit, "stored_frames_bytes", "Send less or raise the limit.")
        self._note_released()
        excess = self.size_bytes + size_bytes - self._limit_bytes
        missing = self._reserved_bytes + size_bytes - self._free_bytes()
        idle_before_s = self._clock() - _GRACE_S
        for key, file in list(self._files.items()):
            if max(excess, missing) > 0 and not file.readers and file.idle_since_s <= idle_before_s:
                self._delete(key)
                excess -= file.size_bytes
                missing -= file.size_bytes
        if excess > 0:
            message = f"too many videos are being read; limit is {self._limit_bytes / _MIB:g} MiB of frames"
            raise Overloaded(f"{message} ({flag('stored_frames_bytes')}); try again", retry_after_s=_GRACE_S)
        self._reserved_bytes += size_bytes

    def share(self, key: str, path: Path, shape: tuple[int, int, int, int]) -> StoredFrames | None:
        """The frames that are being written to `path`, under the name that their file will have.

        None if there is another file of this name: the same video is being decoded for another request.
        """
        if self._folder is None or key in self._files:
            return None
        try:
            (self._folder / key).hardlink_to(path)
        except OSError:
            return None
        return StoredFrames(self._folder / key, shape)

    def _keep_unfinished(self, key: str, path: Path) -> None:
        """The engine may still read it: for it a lost frame is NaN, which it would keep under this name."""
        if self._folder is None or key in self._files:
            return
        name = self._folder / key
        with suppress(OSError):
            if name.samefile(path):
                size_bytes = path.stat().st_size
                self._files[f"{key} of {path.name}"] = _File(key, size_bytes, idle_since_s=self._clock())

    def add(self, key: str, path: Path, shape: tuple[int, int, int, int]) -> StoredFrames:
        """Takes over the file at `path`; the same frames may have come by another request meanwhile."""
        if self._folder is not None and not self._is_whole(key):
            lost = self._files.get(key)
            # What the engine made of a lost file is NaN, which it keeps under the name of that file.
            name = key if lost is None else f"{key}-{path.name}"
            for other in [one for one, file in self._files.items() if file.name == name]:
                # An unfinished file, whose name this one takes.
                del self._files[other]
            self._files[key] = _File(name, path.stat().st_size, lost.readers if lost else 0)
            path.rename(self._folder / name)
        return self._lease(key, shape)

    def _lease(self, key: str, shape: tuple[int, int, int, int]) -> StoredFrames:
        if self._folder is None:
            raise InternalError("the store of frames has been closed")
        lease = _Lease()
        weakref.finalize(lease, _note_end, self._released, key, self._clock).atexit = False
        file = self._files[key]
        file.readers += 1
        self._files.move_to_end(key)
        return StoredFrames(self._folder / file.name, shape, lease=lease)

    def _is_whole(self, key: str) -> bool:
        """Whether the file is there: a cleaner of temporary files may have deleted it."""
        file = self._files.get(key)
        if file is None or self._folder is None:
            return False
        try:
            return (self._folder / file.name).stat().st_size == file.size_bytes
        except OSError:
            return False

    def _free_bytes(self) -> int:
        """On the disk; what has been reserved may have been written by now, or not."""
        if self._folder is None:
            return 0
        with _full_disk_as_unavailable():
            return shutil.disk_usage(self._folder).free

    def _note_released(self) -> None:
        while self._released:
            key, at_s = self._released.popleft()
            if key in self._files:
                self._files[key].readers -= 1
                self._files[key].idle_since_s = at_s

    def _delete(self, key: str) -> None:
        file = self._files.pop(key)
        self._known.pop(key, None)
        if self._folder is not None:
            # The same video may be decoded again, to a file of this name, before this one is deleted.
            self._numbers += 1
            gone = self._folder / f"gone-{self._numbers}"
            with suppress(FileNotFoundError):
                _delete_later((self._folder / file.name).rename(gone))


class FrameWriter:
    """Writes the frames of one video as they are decoded. `write` blocks; call it in a thread."""

    def __init__(self, store: FrameStore, part: Part, key: str, path: Path) -> None:
        self._store = store
        self._part = part
        self._key = key
        self._path = path
        self._file = path.open("xb", buffering=0)
        # A cancelled request closes the file, or the thread that still writes to it does.
        self._lock = threading.Lock()
        self._is_closed = False
        self.reserved_bytes = 0
        self.written_bytes = 0
        self.is_shared = False

    def reserve(self, size_bytes: int) -> None:
        """To be called once, before the first frame. Raises as `FrameStore.reserve`."""
        self._store.reserve(self._part, size_bytes)
        self.reserved_bytes = size_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Raises Unavailable if the disk is full."""
        rest = memoryview(data)
        self.written_bytes += len(rest)
        try:
            with self._lock, _full_disk_as_unavailable():
                while rest and not self._is_closed:
                    rest = rest[self._file.write(rest[:_WRITE_BYTES]) :]
        finally:
            if self._is_closed:
                self.close()

    def share(self, shape: tuple[int, int, int, int]) -> StoredFrames | None:
        """The frames as they will be, to be read so far. None if others decode them too."""
        shared = self._store.share(self._key, self._path, shape)
        self.is_shared = shared is not None
        return shared

    def finish(self, shape: tuple[int, int, int, int]) -> StoredFrames:
        """The frames, all of which have been written."""
        return self._store.add(self._key, self._path, shape)

    def close(self) -> None:
        """Never waits for the disk."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._lock.release()


@contextmanager
def _full_disk_as_unavailable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.error("no frames of a video can be stored: %s", error.strerror)
        message = "the server is short of disk space for the frames of videos; try again"
        raise Unavailable(message, retry_after_s=_GRACE_S) from error


def _delete_later(path: Path) -> None:
    """Deletes a file, if it is there. A gigabyte takes a tenth of a second, for which no request waits."""
    if path.exists():
        threading.Thread(target=path.unlink, args=(True,), name="delete-frames").start()


def _note_end(released: deque[tuple[str, float]], key: str, clock: Callable[[], float]) -> None:
    released.append((key, clock()))


def _mtime_s(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return math.inf


def _delete_abandoned(folders: Iterable[Path]) -> None:
    """Deletes those of servers of this user that no longer run, which held a lock on them."""
    for folder in folders:
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(lock)
