"""Landlock rules for decoders: the process can open, execute, write and create no file or directory.

Newer kernels also block TCP, signals and abstract sockets to other processes. Open files stay usable.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
_ALL_TCP = 3
_ALL_SCOPES = 3
_FILE_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF}
_FILE_RIGHTS_NOW = 0xFFFF


def _call(libc: ctypes.CDLL, *arguments: object) -> int:
    result = int(libc.syscall(*arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def restrict() -> int:
    """Restricts the calling process, which must have no_new_privs set. Returns Landlock's ABI version.

    Raises OSError if the kernel has no Landlock.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = _call(libc, _CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    rights = [_FILE_RIGHTS.get(version, _FILE_RIGHTS_NOW)]
    if version >= 4:
        rights.append(_ALL_TCP)
    if version >= 6:
        rights.append(_ALL_SCOPES)
    handled = struct.pack(f"{len(rights)}Q", *rights)
    # A ruleset without rules forbids everything that it handles.
    ruleset = _call(libc, _CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    try:
        _call(libc, _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version
