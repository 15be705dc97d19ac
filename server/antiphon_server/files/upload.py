"""One upload: the pieces of a file go to disk as they arrive, through one buffer of fixed size."""

from __future__ import annotations

import io
from collections.abc import Callable

from antiphon_server.errors import BadRequest, PayloadTooLarge
from antiphon_server.files.disk import disk_full, run_in_thread
from antiphon_server.files.filename import names_audio, shown_name
from antiphon_server.files.folder import FileFolder
from antiphon_server.files.policy import FilePolicy
from antiphon_server.files.record import FileRecord, new_id
from antiphon_server.files.usage import FileUsage
from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.source import MediaKind

_BUFFER_BYTES = 1 << 20
_HEAD_BYTES = 1 << 10
_MIB = 1 << 20


class Upload:
    """An upload of one key, which is counted in `usage` before. `record`: of the file, once it is kept."""

    def __init__(
        self,
        owner: str,
        folder: FileFolder,
        usage: FileUsage,
        policy: FilePolicy,
        now_s: Callable[[], float],
    ) -> None:
        self.id = new_id()
        self.bytes = 0
        self._owner = owner
        self._folder = folder
        self._usage = usage
        self._policy = policy
        self._now_s = now_s
        self._buffer = bytearray()
        self._head = b""
        self._file: io.FileIO | None = None
        self.record: FileRecord | None = None

    async def write(self, piece: bytes) -> None:
        """The next bytes. Raises an ApiError at a limit, for a full disk, and for a file that is no media."""
        limit = self._policy.file_bytes
        if self.bytes + len(piece) > limit:
            raise too_large(limit)
        self._usage.add_bytes(self._owner, len(piece))
        self.bytes += len(piece)
        if len(self._head) < _HEAD_BYTES:
            self._head += piece[: _HEAD_BYTES - len(self._head)]
            if len(self._head) == _HEAD_BYTES:
                _format_of(self._head)
        self._buffer += piece
        if len(self._buffer) >= _BUFFER_BYTES:
            await run_in_thread(self._write_buffer)

    async def complete(self, filename: str, content_type: str, lifetime_s: int | None) -> FileRecord:
        """All bytes have come. The file is kept from now on."""
        if not self.bytes:
            raise BadRequest("the file is empty", param="file", code="empty_file")
        name, found, created = shown_name(filename), _format_of(self._head), int(self._now_s())
        lifetime_s = min(lifetime_s or self._policy.lifetime_s, self._policy.lifetime_s)
        kind = _kind_of(found, name, content_type)
        record = FileRecord(self.id, self._owner, name, self.bytes, kind, created, created + lifetime_s)
        await run_in_thread(lambda: self._complete(record))
        return record

    async def end(self) -> None:
        """Closes the file. An upload that is not complete leaves nothing."""
        self._buffer.clear()
        if self._file is not None:
            self._file.close()
        if self.record is None:
            self._usage.remove(self._owner, self.bytes)
            if self._file is not None:
                await run_in_thread(lambda: self._folder.delete(self.id))

    def _write_buffer(self) -> None:
        if self._folder.free_bytes < self._policy.free_disk_bytes + len(self._buffer):
            raise disk_full()
        if self._file is None:
            self._file = self._folder.create(self.id)
        rest = memoryview(self._buffer)
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        finally:
            rest.release()
        self._buffer.clear()

    def _complete(self, record: FileRecord) -> None:
        if self._buffer:
            self._write_buffer()
        if self._file is not None:
            self._folder.complete(self._file, record)
            self.record = record


def too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the file is larger than {limit_bytes / _MIB:g} MiB (--files.file-bytes)",
        param="file",
        code="file_too_large",
        hint="compress or split it, or ask the operator to raise the limit",
    )


def _format_of(head: bytes) -> Format:
    found = sniff(head)
    if found is None or not found.demuxer or not found.kinds:
        what = "in no format that is accepted" if found is None else found.name
        raise BadRequest(
            f"the file is {what}; files hold audio, images or video",
            param="file",
            code="media_format_unsupported",
        )
    return found


def _kind_of(found: Format, filename: str, content_type: str) -> MediaKind:
    """A format for films may hold audio alone: then the client's name for it decides."""
    if "video" in found.kinds and not names_audio(filename, content_type):
        return "video"
    return found.kinds[0]
