"""The numbers of the system calls that the sandbox names, for the machines it runs on.

From Linux's own tables; a test compares them with libseccomp's where that library is installed. None: the
machine has no such call.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

_X86_64_ARCHITECTURE = 0xC000003E
_AARCH64_ARCHITECTURE = 0xC00000B7

# Name: number on x86_64, number on aarch64.
_NUMBERS: dict[str, tuple[int, int | None]] = {
    "access": (21, None),
    "arch_prctl": (158, None),
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close": (3, 57),
    "dup": (32, 23),
    "execve": (59, 221),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fcntl": (72, 25),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
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
    "newfstatat": (262, 79),
    "open": (2, None),
    "openat": (257, 56),
    "poll": (7, None),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "prlimit64": (302, 261),
    "ptrace": (101, 117),
    "pwrite64": (18, 68),
    "read": (0, 63),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "sigaltstack": (131, 132),
    "socket": (41, 198),
    "sysinfo": (99, 179),
    "tgkill": (234, 131),
    "uname": (63, 160),
    "unshare": (272, 97),
    "write": (1, 64),
    "writev": (20, 66),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor: its AUDIT_ARCH value, and its number for each call that it has."""

    architecture: int
    numbers: dict[str, int]


MACHINES: dict[str, Machine] = {
    "x86_64": Machine(_X86_64_ARCHITECTURE, {name: pair[0] for name, pair in _NUMBERS.items()}),
    "aarch64": Machine(
        _AARCH64_ARCHITECTURE, {name: pair[1] for name, pair in _NUMBERS.items() if pair[1] is not None}
    ),
}


def this_machine() -> Machine | None:
    """None where this kind of processor has no table here."""
    return MACHINES.get(platform.machine())
