"""Linux capabilities of this process: dropped permanently, and read back.

Afterwards all five sets are empty, and executing a program cannot fill them. A process without CAP_SETPCAP
cannot empty its bounding set; no_new_privs then keeps that set without effect.
"""

from __future__ import annotations

import ctypes
import os
import struct

_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 23, 24, 28, 47
_AMBIENT_CLEAR_ALL = 4
# Root gets no capabilities, none survive a change of user, and none can be raised; all bits are locked.
_SECUREBITS = 0b11101111
_VERSION_3 = 0x20080522
_KILL, _SETGID, _SETUID = 5, 6, 7
_SWITCH_USER = 1 << _KILL | 1 << _SETGID | 1 << _SETUID
_HIGHEST = 63


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def drop_bounding_set() -> None:
    """Step 1, while CAP_SETPCAP is still held: capabilities that the process can never gain again."""
    libc = _libc()
    for number in range(_HIGHEST + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0)


def drop_held() -> None:
    """Step 2: the capabilities that the process holds. Raises OSError if the kernel refuses."""
    libc = _libc()
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(struct.pack("Ii", _VERSION_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def held() -> int:
    """Bit mask of the capabilities in the effective, permitted or inheritable set."""
    sets = ctypes.create_string_buffer(24)
    if _libc().capget(struct.pack("Ii", _VERSION_3, 0), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    low, high = (words[0] | words[1] | words[2] for words in struct.iter_unpack("3I", sets.raw))
    return int(low | high << 32)


def bounding_set_is_empty() -> bool:
    libc = _libc()
    return all(libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) != 1 for number in range(_HIGHEST + 1))


def may_switch_user() -> bool:
    """Whether the process can become another user and its parent can still kill it afterwards."""
    return os.geteuid() == 0 and held() & _SWITCH_USER == _SWITCH_USER
