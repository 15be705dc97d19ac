"""The record of one uploaded file: what is known of it, as it lies beside the bytes on disk."""

from __future__ import annotations

import hashlib
import re
import secrets

import msgspec

from antiphon_server.media.source import MediaKind

# Only such ids become names in the folder.
_ID = re.compile(r"file-[0-9a-f]{32}")


class FileRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`owner`: see `owner_of`. `kind`: what a part of type "file" reads it as. Times in Unix seconds."""

    id: str
    owner: str
    filename: str
    size_bytes: int
    kind: MediaKind
    created_at: int
    expires_at: int

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)


def new_id() -> str:
    return f"file-{secrets.token_hex(16)}"


def is_file_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


def owner_of(key_hash: str) -> str:
    """Stands for an API key on disk. Hashed again, because the hash of a key salts prefix caches too."""
    return hashlib.sha256(b"antiphon files\0" + key_hash.encode()).hexdigest()


def record_of(text: bytes, file_id: str) -> FileRecord | None:
    """The record in `text`; None if it is damaged or another file's."""
    try:
        record = msgspec.json.decode(text, type=FileRecord)
    except (msgspec.DecodeError, ValueError):
        return None
    return record if record.id == file_id and record.size_bytes > 0 else None
