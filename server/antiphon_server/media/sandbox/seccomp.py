"""Seccomp filter of a profile: allowed system calls run, all others fail with EPERM.

It needs no_new_privs but not root, so it works in containers. A call of another processor architecture, whose
call numbers differ, kills the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from antiphon_server.media.sandbox.profiles import Condition, Profile
from antiphon_server.media.sandbox.system_calls import Machine, this_machine

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_X32_CALLS = 0x40000000

_LOAD, _AND, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_CALL_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_WORD_BITS, _WORD = 32, 0xFFFFFFFF


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


_REFUSE = _instruction(_RETURN, _ERRNO | errno.EPERM)


def _tests(condition: Condition) -> list[bytes]:
    """Compares both halves of the argument, the low one first (little-endian), and refuses a mismatch."""
    steps = []
    for half in range(2):
        mask, value = (word >> half * _WORD_BITS & _WORD for word in (condition.mask, condition.value))
        if mask:
            where = _FIRST_ARGUMENT + 8 * condition.argument + 4 * half
            steps += [
                _instruction(_LOAD, where),
                _instruction(_AND, mask),
                _instruction(_JUMP_EQUAL, value, 1, 0),
                _REFUSE,
            ]
    return steps


def assemble(machine: Machine, profile: Profile) -> bytes:
    """Classic BPF over `struct seccomp_data`. The call number stays loaded between comparisons."""
    steps = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, machine.architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _CALL_NUMBER),
        _instruction(_JUMP_AT_LEAST, _X32_CALLS, 0, 1),
        _instruction(_RETURN, _KILL),
    ]
    for name, conditions in profile.allowed.items():
        tests = [step for condition in conditions for step in _tests(condition)]
        verdict = [*tests, _instruction(_RETURN, _ALLOW)]
        steps += [_instruction(_JUMP_EQUAL, machine.numbers[name], 0, len(verdict)), *verdict]
    return b"".join([*steps, _REFUSE])


def install(profile: Profile) -> None:
    """Installs the filter; no_new_privs must be set. Raises OSError if the machine does not support it."""
    machine = this_machine()
    if machine is None:
        raise OSError(errno.ENOSYS, "no system-call table for this machine")
    steps = assemble(machine, profile)
    program = _Program(len(steps) // 8, steps)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
