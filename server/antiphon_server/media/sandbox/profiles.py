"""The system calls that a confined decoder may make, with conditions on their arguments.

None of them opens a file, starts a process or thread, reaches another process, or creates memory that
RLIMIT_AS does not count.
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
    """`allowed`: the conditions of each allowed call."""

    allowed: Mapping[str, tuple[Condition, ...]]

    def allows(self, call: str, arguments: Sequence[int]) -> bool:
        conditions = self.allowed.get(call)
        if conditions is None:
            return False
        return all(arguments[c.argument] & c.mask == c.value for c in conditions)


def _unconditional(*names: str) -> dict[str, tuple[Condition, ...]]:
    return dict.fromkeys(names, ())


# For one thread that has loaded everything: it opens no file and maps no code.
DECODING = Profile(
    {
        **_unconditional(
            "read", "pread64", "readv", "preadv", "write", "pwrite64", "writev", "lseek", "close"
        ),
        **_unconditional("munmap", "mremap", "madvise", "brk", "futex"),
        **_unconditional("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
        **_unconditional("clock_gettime", "gettimeofday", "getpid", "gettid", "getrandom", "sched_yield"),
        **_unconditional("exit", "exit_group"),
        "mmap": (Condition(2, _PROT_EXEC, 0),),
        "mprotect": (Condition(2, _PROT_EXEC, 0),),
        # Read-only, and only for the process itself.
        "prlimit64": (Condition(0, _LOW_HALF, 0), Condition(2, _ALL, 0)),
        # Only for the process itself.
        "sched_getaffinity": (Condition(0, _LOW_HALF, 0),),
    },
)
