"""The store of uploaded files: an index in memory of the folder, shared by no other process.

A file is visible to its owner alone; for others it does not exist.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from antiphon_server.errors import NotFound, Unavailable, is_out_of_descriptors
from antiphon_server.files.disk import run_in_thread
from antiphon_server.files.folder import FileFolder
from antiphon_server.files.policy import FilePolicy
from antiphon_server.files.record import FileRecord, owner_of
from antiphon_server.files.upload import Upload
from antiphon_server.files.usage import FileUsage

_SHOWN_CHARS = 64

_log = logging.getLogger("antiphon.files")


@dataclass(slots=True)
class FileCounts:
    """Since the start of the server."""

    stored: int = 0
    deleted: int = 0
    expired: int = 0
    failed: int = 0


class StoredFile:
    """A file of the request's own key. Once open, it can be read to its end even if it is deleted."""

    def __init__(self, record: FileRecord, folder: FileFolder) -> None:
        self.record = record
        self._folder = folder

    @property
    def size_bytes(self) -> int:
        return self.record.size_bytes

    def open(self) -> io.FileIO:
        """Raises NotFound if it has been deleted meanwhile, or something else lies in its place."""
        try:
            return self._folder.open(self.record)
        except OSError as error:
            if is_out_of_descriptors(error):
                raise
            raise not_found(self.record.id) from None


class FileStore:
    """One per server. Without a folder that can be used it holds nothing and refuses uploads."""

    def __init__(self, policy: FilePolicy, now_s: Callable[[], float] = time.time) -> None:  # noqa: TID251
        """`now_s`: Unix seconds. The lifetime of files goes on while no server runs."""
        self.policy = policy
        self.usage = FileUsage(policy)
        self.counts = FileCounts()
        self._now_s = now_s
        self._folder: FileFolder | None = None
        self._temporary: TemporaryDirectory[str] | None = None
        self._records: dict[str, FileRecord] = {}

    def start(self, path: Path | None) -> None:
        """Opens the folder and reads its index; None: a folder that lasts until `close`. Raises OSError."""
        if path is None:
            self._temporary = TemporaryDirectory(prefix="antiphon-files-")
            path = Path(self._temporary.name)
        folder = FileFolder(path)
        try:
            records = folder.scan()
        except OSError:
            folder.close()
            raise
        self._folder = folder
        for record in records:
            self._records[record.id] = record
            self.usage.count(record.owner, record.size_bytes)

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def find(self, key_hash: str, file_id: str, param: str | None = None) -> StoredFile:
        """Raises NotFound, for a file of another key too."""
        record = self._records.get(file_id)
        if self._folder is None or record is None or not self._belongs(record, owner_of(key_hash)):
            raise not_found(file_id, param)
        return StoredFile(record, self._folder)

    def of_key(self, key_hash: str) -> list[FileRecord]:
        """The files of a key, oldest first."""
        owner = owner_of(key_hash)
        found = [record for record in self._records.values() if self._belongs(record, owner)]
        return sorted(found, key=lambda record: (record.created_at, record.id))

    async def delete(self, key_hash: str, file_id: str) -> None:
        """Removes the file from the disk. Requests that read it already can finish."""
        record = self.find(key_hash, file_id).record
        self.counts.deleted += 1
        await self._remove(record)

    async def delete_expired(self) -> None:
        """Removes all files whose lifetime has ended."""
        now_s = self._now_s()
        for record in [one for one in self._records.values() if one.expires_at <= now_s]:
            if record.id in self._records:
                self.counts.expired += 1
                await self._remove(record)

    @asynccontextmanager
    async def upload(self, key_hash: str) -> AsyncIterator[Upload]:
        """An upload. Unless it is completed within the block, nothing of it stays."""
        if self._folder is None:
            raise Unavailable("this server stores no files", code="files_unavailable")
        await self.delete_expired()
        owner = owner_of(key_hash)
        self.usage.add_file(owner)
        upload = Upload(owner, self._folder, self.usage, self.policy, self._now_s)
        try:
            yield upload
        finally:
            if upload.record is None:
                self.counts.failed += 1
            else:
                self._records[upload.id] = upload.record
                self.counts.stored += 1
            await upload.end()

    async def _remove(self, record: FileRecord) -> None:
        folder = self._folder
        del self._records[record.id]
        self.usage.remove(record.owner, record.size_bytes)
        if folder is not None:
            await run_in_thread(lambda: folder.delete(record.id))

    def _belongs(self, record: FileRecord, owner: str) -> bool:
        return record.owner == owner and record.expires_at > self._now_s()


def not_found(file_id: str, param: str | None = None) -> NotFound:
    shown = file_id if len(file_id) <= _SHOWN_CHARS else file_id[:_SHOWN_CHARS] + "…"
    return NotFound(
        f"there is no file {shown!r}: unknown, deleted or expired",
        param=param,
        code="file_not_found",
        hint="upload it with POST /v1/files",
    )
