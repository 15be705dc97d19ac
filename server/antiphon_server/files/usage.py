"""What uploaded files use, of all keys and of each, with uploads that are still arriving."""

from __future__ import annotations

from collections import Counter

from antiphon_server.errors import BadRequest, InsufficientStorage
from antiphon_server.files.policy import FilePolicy

_MIB = 1 << 20
_DELETE = "Delete files with DELETE /v1/files/{id}, or wait until they expire."


class FileUsage:
    """Files and bytes. `files`, `total_bytes`: of all keys."""

    def __init__(self, policy: FilePolicy) -> None:
        self._policy = policy
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self.files = 0
        self.total_bytes = 0

    def add_file(self, owner: str) -> None:
        """One more file of a key. Raises an ApiError if its number of files, or that of all, is reached."""
        policy = self._policy
        if self._files[owner] >= policy.key_files:
            message = f"this API key has {self._files[owner]} files; the limit is {policy.key_files}"
            raise BadRequest(
                f"{message} (--files.key-files)", code="file_quota_exceeded", param="file", hint=_DELETE
            )
        if self.files >= policy.total_files:
            message = f"the server holds {self.files} files, its limit (--files.total-files)"
            raise InsufficientStorage(message, code="file_storage_full")
        self.count(owner, 0)

    def add_bytes(self, owner: str, size_bytes: int) -> None:
        """A file of the key is longer by this. Raises an ApiError at the limit of the key or of all keys."""
        policy = self._policy
        if self._bytes[owner] + size_bytes > policy.key_bytes:
            message = f"the files of this API key would exceed {policy.key_bytes / _MIB:g} MiB"
            raise BadRequest(
                f"{message} (--files.key-bytes)", code="file_quota_exceeded", param="file", hint=_DELETE
            )
        if self.total_bytes + size_bytes > policy.total_bytes:
            message = f"the files of all keys would exceed {policy.total_bytes / _MIB:g} MiB"
            raise InsufficientStorage(f"{message} (--files.total-bytes)", code="file_storage_full")
        self._bytes[owner] += size_bytes
        self.total_bytes += size_bytes

    def count(self, owner: str, size_bytes: int) -> None:
        """A file of the key, whatever the limits are."""
        self._files[owner] += 1
        self._bytes[owner] += size_bytes
        self.files += 1
        self.total_bytes += size_bytes

    def remove(self, owner: str, size_bytes: int) -> None:
        """The file is gone, or its upload was aborted."""
        self.files -= 1
        self.total_bytes -= size_bytes
        self._files[owner] -= 1
        self._bytes[owner] -= size_bytes
        if not self._files[owner]:
            del self._files[owner], self._bytes[owner]
