"""Landlock for decoders: the file system shrinks to what a decoder may read and execute, often nothing.

In: the paths that stay readable, and those that stay executable. Effect: nothing else can be opened, nothing
written or made, no TCP connection, signal or abstract socket leaves the process. Open files stay usable.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIRECTORY = 1, 4, 8
_ALL_TCP = 3
_ALL_SCOPES = 3
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_FILE_RIGHTS_NOW = 0xFFFF


def _call(libc: ctypes.CDLL, *arguments: object) -> int:
    result = int(libc.syscall(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def restrict(readable: Iterable[Path] = (), executable: Iterable[Path] = ()) -> int:
    """Confines the calling process; no_new_privs must be set. Returns Landlock's ABI version.

    Raises OSError where the kernel has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = _call(libc, _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    rights = [_FILE_RIGHTS.get(version, _FILE_RIGHTS_NOW)]
    if version >= 4:
        rights.append(_ALL_TCP)
    if version >= 6:
        rights.append(_ALL_SCOPES)
    handled = struct.pack(f"{len(rights)}Q", *rights)
    ruleset = _call(libc, _CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        for path in readable:
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIRECTORY)
        for path in executable:
            _allow(libc, ruleset, path, _READ_FILE | _EXECUTE)
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    if not path.exists():
        return
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        # The kernel refuses a right to directories on a file.
        rights &= ~0 if path.is_dir() else ~_READ_DIRECTORY
        _call(libc, _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
