"""Numbers of the system calls that the sandbox names, per processor architecture.

They come from Linux's tables; a test compares them with libseccomp's if that library is installed.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

_X86_64_ARCHITECTURE = 0xC000003E
_AARCH64_ARCHITECTURE = 0xC00000B7

# Name: number on x86_64, number on aarch64.
_NUMBERS: dict[str, tuple[int, int]] = {
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "close": (3, 57),
    "execve": (59, 221),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "kill": (62, 129),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "memfd_create": (319, 279),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "openat": (257, 56),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "prlimit64": (302, 261),
    "ptrace": (101, 117),
    "pwrite64": (18, 68),
    "read": (0, 63),
    "readv": (19, 65),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "sigaltstack": (131, 132),
    "socket": (41, 198),
    "tgkill": (234, 131),
    "unshare": (272, 97),
    "write": (1, 64),
    "writev": (20, 66),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A processor architecture: its AUDIT_ARCH value and the number of each call."""

    architecture: int
    numbers: dict[str, int]


MACHINES: dict[str, Machine] = {
    "x86_64": Machine(_X86_64_ARCHITECTURE, {name: pair[0] for name, pair in _NUMBERS.items()}),
    "aarch64": Machine(_AARCH64_ARCHITECTURE, {name: pair[1] for name, pair in _NUMBERS.items()}),
}


def this_machine() -> Machine | None:
    """The table of this machine's processor; None if there is none."""
    return MACHINES.get(platform.machine())
