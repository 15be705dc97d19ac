"""The folder of uploaded files: names, atomic writes, and the scan at the start.

`ID.data` holds the bytes and `ID.json` the record, which is written last and deleted first: a file without a
record does not exist. All access goes through the folder's descriptor, and no symbolic link is followed.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from antiphon_server.files.record import FileRecord, is_file_id, record_of

_RECORD_BYTES = 8 << 10
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SUFFIXES = (".data", ".json", ".part", ".json.part")


class FolderInUse(OSError):
    """Another server uses the folder."""


class FileFolder:
    """One open folder, locked for this process. Its methods block; large deletions take milliseconds."""

    def __init__(self, path: Path) -> None:
        """Creates the folder if it is missing. Raises OSError."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._check_owner()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno == errno.EWOULDBLOCK:
                raise FolderInUse(error.errno, "another server uses the folder") from None
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    @property
    def free_bytes(self) -> int:
        found = os.fstatvfs(self._descriptor)
        return found.f_bavail * found.f_frsize

    def scan(self) -> list[FileRecord]:
        """The complete files. Removes what an interrupted upload or deletion has left."""
        names = [name for name in os.listdir(self._descriptor) if _id_in(name)]  # noqa: PTH208 - of the descriptor
        kept = [record for record in self._records(names) if self._holds(record)]
        complete = {f"{record.id}{suffix}" for record in kept for suffix in (".data", ".json")}
        for name in names:
            if name not in complete:
                self._remove(name)
        return kept

    def create(self, file_id: str) -> io.FileIO:
        """A new file for the bytes of an upload."""
        return io.FileIO(os.open(f"{file_id}.part", _NEW, 0o600, dir_fd=self._descriptor), "w")

    def complete(self, file: io.FileIO, record: FileRecord) -> None:
        """The upload has ended: its file and its record survive a crash from now on."""
        os.fsync(file.fileno())
        self._rename(f"{record.id}.part", f"{record.id}.data")
        temporary = f"{record.id}.json.part"
        with io.FileIO(os.open(temporary, _NEW, 0o600, dir_fd=self._descriptor), "w") as written:
            written.write(record.to_json())
            os.fsync(written.fileno())
        self._rename(temporary, f"{record.id}.json")
        os.fsync(self._descriptor)

    def open(self, record: FileRecord) -> io.FileIO:
        """The bytes of a file. Raises OSError if they are not the regular file that was uploaded."""
        descriptor = os.open(f"{record.id}.data", _OLD, dir_fd=self._descriptor)
        if _is_upload(os.fstat(descriptor), record):
            return io.FileIO(descriptor, "r")
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not the uploaded file")

    def delete(self, file_id: str) -> None:
        """Removes a file and its record, complete or not."""
        for suffix in (".json", ".json.part", ".data", ".part"):
            self._remove(file_id + suffix)
        os.fsync(self._descriptor)

    def _records(self, names: list[str]) -> Iterator[FileRecord]:
        for name in names:
            file_id = _id_in(name)
            if not name.endswith(".json") or file_id is None:
                continue
            try:
                with io.FileIO(os.open(name, _OLD, dir_fd=self._descriptor), "r") as file:
                    is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                    record = record_of(file.read(_RECORD_BYTES) or b"", file_id) if is_file else None
            except OSError:
                continue
            if record is not None:
                yield record

    def _holds(self, record: FileRecord) -> bool:
        try:
            found = os.stat(f"{record.id}.data", dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return _is_upload(found, record)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            # A directory with such a name is not ours.
            if error.errno not in (errno.EISDIR, errno.EPERM):
                raise

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def _check_owner(self) -> None:
        found = os.fstat(self._descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, "other users can write to the folder")


def _is_upload(found: os.stat_result, record: FileRecord) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size == record.size_bytes


def _id_in(name: str) -> str | None:
    """The id in a name that this module has given; None for other names, which are left alone."""
    for suffix in _SUFFIXES:
        if name.endswith(suffix) and is_file_id(name.removesuffix(suffix)):
            return name.removesuffix(suffix)
    return None
