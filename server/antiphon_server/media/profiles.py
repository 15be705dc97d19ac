"""The system calls that a decoder may make: an allow-list for each kind of decoder. Others fail with EPERM.

A condition restricts an argument. Nothing here opens a file for writing, starts a process, reaches another
process, or makes memory that RLIMIT_AS does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PROT_EXEC = 0x4
_CLONE_THREAD = 0x10000
_WRITING = 0o1 | 0o2 | 0o100 | 0o1000 | 0o2000
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
    """`allowed`: each call with its conditions. `unknown`: calls that fail as if the kernel had none such."""

    name: str
    allowed: Mapping[str, tuple[Condition, ...]]
    unknown: frozenset[str] = frozenset()

    def lets_pass(self, call: str, arguments: Sequence[int]) -> bool:
        conditions = self.allowed.get(call)
        if conditions is None:
            return False
        return all(arguments[c.argument] & c.mask == c.value for c in conditions)


def _free(*names: str) -> dict[str, tuple[Condition, ...]]:
    return dict.fromkeys(names, ())


_OWN_LIMITS_READ_ONLY = {"prlimit64": (Condition(0, _LOW_HALF, 0), Condition(2, _ALL, 0))}
_OWN_PROCESSORS = {"sched_getaffinity": (Condition(0, _LOW_HALF, 0),)}
_COMMON = {
    **_free("read", "pread64", "readv", "preadv", "write", "pwrite64", "writev", "lseek", "close"),
    **_free("munmap", "mremap", "madvise", "brk", "futex"),
    **_free("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    **_free("clock_gettime", "gettimeofday", "getpid", "gettid", "getrandom", "sched_yield"),
    **_free("exit", "exit_group"),
    **_OWN_LIMITS_READ_ONLY,
    **_OWN_PROCESSORS,
}

# Decoding in the worker itself, which has loaded everything: one thread, no file opened, no code mapped.
IN_PROCESS = Profile(
    "in process",
    {
        **_COMMON,
        "mmap": (Condition(2, _PROT_EXEC, 0),),
        "mprotect": (Condition(2, _PROT_EXEC, 0),),
    },
)

# An ffmpeg that is executed: its loader opens and maps libraries, and it has threads. Landlock names files.
EXECUTING = Profile(
    "ffmpeg",
    {
        **_COMMON,
        **_free("mmap", "mprotect", "execve", "access", "faccessat", "faccessat2", "readlink", "readlinkat"),
        **_free("fstat", "newfstatat", "fcntl", "dup", "poll", "getrusage", "sysinfo", "uname"),
        **_free("arch_prctl", "prctl", "set_tid_address", "set_robust_list", "rseq"),
        "open": (Condition(1, _WRITING, 0),),
        "openat": (Condition(2, _WRITING, 0),),
        "clone": (Condition(0, _CLONE_THREAD, _CLONE_THREAD),),
    },
    # Its flags lie in memory, where a filter cannot see them: glibc falls back to clone.
    unknown=frozenset({"clone3"}),
)
