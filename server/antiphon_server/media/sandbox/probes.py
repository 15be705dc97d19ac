"""Whether each layer is in force, found out by trying what it forbids: return codes are not believed.

Every attempt has arguments that the kernel would refuse anyway, with another error: if a layer were missing,
nothing would happen. Runs in the worker, on its way into confinement.
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
# Not canonical on any machine: reading from it always fails.
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


def filtered(profile: Profile) -> bool:
    """Whether the filter of `profile` is in force."""
    machine = this_machine()
    if machine is None:
        return False
    return all(
        _error(machine.numbers[attempt.call], attempt.arguments) == errno.EPERM
        for attempt in _attempts()
        if not profile.lets_pass(attempt.call, attempt.arguments)
    )


def _error(number: int, arguments: tuple[int, ...]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    words = [ctypes.c_long(word) for word in arguments]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) == -1 else 0


def no_new_privileges() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)


def no_capabilities() -> bool:
    """None is held, none can be gained, and what only CAP_SYS_ADMIN may do is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    # With the capability the pointer would be EFAULT: the kernel reads it before it changes anything.
    asked = libc.setdomainname(ctypes.c_void_p(_NO_ADDRESS), ctypes.c_size_t(1))
    refused = asked == -1 and ctypes.get_errno() == errno.EPERM
    can_gain = not (capabilities.bounding_set_is_empty() or no_new_privileges())
    return refused and not capabilities.held() and not can_gain


def no_files() -> bool:
    """Whether even the root directory cannot be opened, and so nothing under it that no rule names."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY))
    except PermissionError:
        return True
    return False


def limited(address_space_bytes: int, open_files: int, output: int, output_bytes: int) -> bool:
    """Whether memory, files, CPU time and the output are limited."""
    try:
        counted = (
            resource.RLIM_INFINITY not in resource.getrlimit(resource.RLIMIT_CPU)
            and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
            and resource.getrlimit(resource.RLIMIT_NOFILE) == (open_files, open_files)
        )
    except (OSError, ValueError):
        return False
    return counted and _is_too_much(address_space_bytes) and _is_too_long(output, output_bytes)


def _is_too_much(size_bytes: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_ssize_t
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    place = libc.mmap(None, size_bytes, 0, _MAP_PRIVATE_ANONYMOUS, -1, 0)
    if place == -1:
        return ctypes.get_errno() == errno.ENOMEM
    libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(size_bytes))
    return False


def _is_too_long(output: int, output_bytes: int) -> bool:
    try:
        os.pwrite(output, b"\0", output_bytes)
    except OSError as error:
        return error.errno == errno.EFBIG
    os.ftruncate(output, 0)
    return False
