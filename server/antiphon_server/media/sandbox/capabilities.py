"""Linux capabilities of a process: given up for good, and read back.

In: nothing. Effect: all five sets are empty, and no program that is executed can fill them again. A process
without CAP_SETPCAP cannot empty its bounding set: there no_new_privs keeps that set without effect.
"""

from __future__ import annotations

import ctypes
import os
import struct

_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT = 23, 24, 28, 47
_AMBIENT_CLEAR_ALL = 4
# Root is an ordinary user, capabilities do not survive a change of user, and none is raised; all locked.
_SECUREBITS = 0b11101111
_VERSION_3 = 0x20080522
_KILL, _SETGID, _SETUID = 5, 6, 7
_SWITCH_USER = 1 << _KILL | 1 << _SETGID | 1 << _SETUID
_HIGHEST = 63


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def close_bounding_set() -> None:
    """The first half, while CAP_SETPCAP is still held: what the process can never gain again."""
    libc = _libc()
    for number in range(_HIGHEST + 1):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS, 0, 0, 0)


def drop() -> None:
    """The second half: what the process holds. Raises OSError where the kernel refuses."""
    libc = _libc()
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    if libc.capset(struct.pack("Ii", _VERSION_3, 0), bytes(24)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def held() -> int:
    """Bits of the capabilities in any of the effective, permitted and inheritable sets."""
    sets = ctypes.create_string_buffer(24)
    if _libc().capget(struct.pack("Ii", _VERSION_3, 0), sets):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    low, high = (words[0] | words[1] | words[2] for words in struct.iter_unpack("3I", sets.raw))
    return int(low | high << 32)


def bounding_set_is_empty() -> bool:
    libc = _libc()
    return all(libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) != 1 for number in range(_HIGHEST + 1))


def may_switch_user() -> bool:
    """Whether the process can become another user, and its parent still end it then."""
    return os.geteuid() == 0 and held() & _SWITCH_USER == _SWITCH_USER
