"""Probes that show whether each confinement layer is in force, by trying what it forbids.

Each attempt has arguments that the kernel would refuse with another error anyway, so it has no effect even if
the layer is missing. Runs in the worker during its confinement.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from dataclasses import dataclass

from antiphon_server.media.sandbox import capabilities
from antiphon_server.media.sandbox.profiles import Profile
from antiphon_server.media.sandbox.system_calls import this_machine

_PR_GET_NO_NEW_PRIVS = 39
_NO_CLOCK, _NO_LIMIT, _NO_REQUEST, _NO_FLAG = 99, 999, 99_999, 1
_CLONE_SIGHAND_ALONE = 0x800
_MAP_PRIVATE_ANONYMOUS = 0x22
_PROT_READ_EXEC = 0x5
_PAGE_BYTES = 4096
_NULL = 0
# A non-canonical address on every machine: reading from it always fails.
_NO_ADDRESS = 1 << 63


@dataclass(frozen=True, slots=True)
class _Attempt:
    call: str
    arguments: tuple[int, ...]


def _attempts() -> tuple[_Attempt, ...]:
    own = os.getpid()
    return (
        _Attempt("clock_settime", (_NO_CLOCK, _NULL)),
        _Attempt("clone", (_CLONE_SIGHAND_ALONE, _NULL, _NULL, _NULL, _NULL)),
        _Attempt("execve", (_NULL, _NULL, _NULL)),
        _Attempt("kill", (own, 0)),
        _Attempt("memfd_create", (_NULL, 0)),
        _Attempt("openat", (-1, _NULL, 0)),
        _Attempt("prlimit64", (own, _NO_LIMIT, _NULL, _NULL)),
        _Attempt("ptrace", (_NO_REQUEST, 0, _NULL, _NULL)),
        _Attempt("socket", (-1, 0, 0)),
        _Attempt("tgkill", (own, own, 0)),
        _Attempt("unshare", (_NO_FLAG,)),
        _Attempt("mmap", (_NULL, _PAGE_BYTES, _PROT_READ_EXEC, _MAP_PRIVATE_ANONYMOUS, -1, 0)),
    )


def seccomp_in_force(profile: Profile) -> bool:
    """Whether the filter of `profile` is in force."""
    machine = this_machine()
    if machine is None:
        return False
    return all(
        _error(machine.numbers[attempt.call], attempt.arguments) == errno.EPERM
        for attempt in _attempts()
        if not profile.allows(attempt.call, attempt.arguments)
    )


def _error(number: int, arguments: tuple[int, ...]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(word) for word in arguments]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) == -1 else 0


def no_new_privs_set() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)


def no_capabilities() -> bool:
    """Whether none is held, none can be gained, and a call that needs CAP_SYS_ADMIN is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    # With the capability the error would be EFAULT: the kernel reads the pointer before it changes anything.
    result = libc.setdomainname(ctypes.c_void_p(_NO_ADDRESS), ctypes.c_size_t(1))
    refused = result == -1 and ctypes.get_errno() == errno.EPERM
    can_gain = not (capabilities.bounding_set_is_empty() or no_new_privs_set())
    return refused and not capabilities.held() and not can_gain


def files_unreachable() -> bool:
    """Whether the root directory cannot be opened; then no path below it can be opened either."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except PermissionError:
        return True
    return False


def limits_in_force(address_space_bytes: int, open_files: int, output: int, output_bytes: int) -> bool:
    """Whether memory, files, CPU time and the output are limited."""
    try:
        process_limits_set = (
            resource.RLIM_INFINITY not in resource.getrlimit(resource.RLIMIT_CPU)
            and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
            and resource.getrlimit(resource.RLIMIT_NOFILE) == (open_files, open_files)
        )
    except (OSError, ValueError):
        return False
    return (
        process_limits_set
        and _memory_is_limited(address_space_bytes)
        and _output_is_limited(output, output_bytes)
    )


def _memory_is_limited(size_bytes: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_ssize_t
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    address = libc.mmap(None, size_bytes, 0, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if address == -1:
        return ctypes.get_errno() == errno.ENOMEM
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size_bytes))
    return False


def _output_is_limited(output: int, output_bytes: int) -> bool:
    try:
        os.pwrite(output, b"\0", output_bytes)
    except OSError as error:
        return error.errno == errno.EFBIG
    os.ftruncate(output, 0)
    return False
