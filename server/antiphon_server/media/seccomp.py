"""A system-call filter for decoders: no sockets, no new processes, no tracing, no kernel interfaces.

In: nothing. Effect: the calling process, and what it executes, gets EPERM for the calls below. Needs no
privilege, so it also holds in containers. Threads are allowed (`clone` with CLONE_THREAD), processes are not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_CLONE_THREAD = 0x00010000

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

# AUDIT_ARCH, clone, and the denied calls in one order: socket socketpair bind listen accept connect kill
# ptrace setpgid setsid mount unshare setns process_vm_readv process_vm_writev bpf userfaultfd perf_event_open
# add_key keyctl open_by_handle_at io_uring_setup pidfd_open pidfd_getfd (and fork, vfork where they exist).
_X86_64 = (0xC000003E, 56, (41, 53, 49, 50, 43, 42, 62, 101, 109, 112, 165, 272, 308, 310, 311, 321, 323,
                            298, 248, 250, 304, 425, 434, 438, 57, 58))  # fmt: skip
_AARCH64 = (0xC00000B7, 220, (198, 199, 200, 201, 202, 203, 129, 117, 154, 157, 40, 97, 268, 270, 271, 280,
                              282, 241, 217, 219, 265, 425, 434, 438))  # fmt: skip
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}
_CLONE3 = 435
_X32_CALLS = 0x40000000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _program(architecture: int, clone: int, denied: tuple[int, ...]) -> bytes:
    """Classic BPF over `struct seccomp_data`; every test stands right before its verdict."""
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_EQUAL, architecture, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _CALL_NUMBER),
        _step(_JUMP_AT_LEAST, _X32_CALLS, 0, 1),
        _step(_RETURN, _KILL),
        # glibc falls back from clone3, whose flags a filter cannot see, to clone.
        _step(_JUMP_EQUAL, _CLONE3, 0, 1),
        _step(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for call in denied:
        steps += [_step(_JUMP_EQUAL, call, 0, 1), refuse]
    steps += [
        _step(_JUMP_EQUAL, clone, 0, 3),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_JUMP_BITS, _CLONE_THREAD, 1, 0),
        refuse,
        _step(_RETURN, _ALLOW),
    ]
    return b"".join(steps)


def install() -> None:
    """Sets no_new_privs and the filter. Raises OSError where the kernel or the machine has no such filter."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, "no system-call table for this machine")
    steps = _program(*machine)
    program = _Program(len(steps) // 8, steps)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
