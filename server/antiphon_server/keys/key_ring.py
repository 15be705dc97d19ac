"""The valid API keys of a running server. A changed key file replaces its keys without a restart."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from pathlib import Path

from antiphon_server.admission.capacity import DEFAULT_CLASS, KeyLimits
from antiphon_server.keys.key_table import KeyFileError, KeyTable, read_key_file

_HASH_CHARS = 64
_NO_LIMITS = KeyLimits()

_log = logging.getLogger("antiphon.keys")


class KeyRing:
    """`hashes`: SHA-256 of the keys of the settings. Those that also stand in `file` belong to the file.

    Raises KeyFileError if the file cannot be used.
    """

    def __init__(self, hashes: Iterable[str] = (), file: Path | None = None) -> None:
        self._file = file
        self._stamp = _stamp_of(file)
        table = KeyTable() if file is None else read_key_file(file)
        self._fixed = tuple(one for one in hashes if one not in table.classes)
        self._set(table)

    @property
    def is_empty(self) -> bool:
        """Whether no key is needed. A file that changes never empties the ring."""
        return not self._classes

    def knows(self, key_hash: str) -> bool:
        """Every hash is compared, so that the time reveals nothing about which one is close."""
        return bool(sum(hmac.compare_digest(key_hash, known) for known in self._classes))

    def owns(self, owner: str | None) -> bool:
        """Whether the key of this owner is still valid."""
        return owner is not None and owner[:_HASH_CHARS] in self._classes

    def class_of(self, owner: str) -> str:
        """`owner`: begins with the hash of a key."""
        return self._classes.get(owner[:_HASH_CHARS], DEFAULT_CLASS)

    def limits_of(self, owner: str) -> KeyLimits:
        return self._limits.get(self.class_of(owner), _NO_LIMITS)

    def stamp(self) -> tuple[int, int, int] | None:
        """Of the file: another one after it was written. None: there is none."""
        return _stamp_of(self._file)

    def reload_if_changed(self) -> None:
        """Reads the file again if it is another one. One that cannot be used changes nothing."""
        stamp = _stamp_of(self._file)
        if self._file is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            table = read_key_file(self._file)
        except KeyFileError as error:
            _log.error("the changed key file cannot be used, and the keys before it stay valid: %s", error)
            return
        before = set(self._classes)
        self._set(table)
        now = set(self._classes)
        fields = {"added": len(now - before), "removed": len(before - now), "keys": len(now)}
        _log.info("the key file was read again", extra={"fields": fields})

    def _set(self, table: KeyTable) -> None:
        self._classes = {**dict.fromkeys(self._fixed, DEFAULT_CLASS), **table.classes}
        self._limits = table.limits


def _stamp_of(file: Path | None) -> tuple[int, int, int] | None:
    """Differs if a file was written or replaced. None: there is none."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)
