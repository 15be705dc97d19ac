"""The system calls that a confined decoder may make. All others fail with EPERM.

A condition restricts an argument. Nothing here opens a file, starts a process or a thread, reaches another
process, or makes memory that RLIMIT_AS does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PROT_EXEC = 0x4
_ALL = 0xFFFFFFFFFFFFFFFF
_LOW_HALF = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Condition:
    """The bits of an argument under `mask` must equal `value`."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class Profile:
    """`allowed`: each call with its conditions."""

    allowed: Mapping[str, tuple[Condition, ...]]

    def lets_pass(self, call: str, arguments: Sequence[int]) -> bool:
        conditions = self.allowed.get(call)
        if conditions is None:
            return False
        return all(arguments[c.argument] & c.mask == c.value for c in conditions)


def _free(*names: str) -> dict[str, tuple[Condition, ...]]:
    return dict.fromkeys(names, ())


# One thread, which has loaded everything: no file is opened and no code is mapped.
DECODING = Profile(
    {
        **_free("read", "pread64", "readv", "preadv", "write", "pwrite64", "writev", "lseek", "close"),
        **_free("munmap", "mremap", "madvise", "brk", "futex"),
        **_free("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
        **_free("clock_gettime", "gettimeofday", "getpid", "gettid", "getrandom", "sched_yield"),
        **_free("exit", "exit_group"),
        "mmap": (Condition(2, _PROT_EXEC, 0),),
        "mprotect": (Condition(2, _PROT_EXEC, 0),),
        # Its own limits, and to read them only.
        "prlimit64": (Condition(0, _LOW_HALF, 0), Condition(2, _ALL, 0)),
        # Its own processors.
        "sched_getaffinity": (Condition(0, _LOW_HALF, 0),),
    },
)
