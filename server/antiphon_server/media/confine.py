"""Everything a decoder gives up before it sees a byte of media, in the order in which it must happen.

In: the limits and the directories that programs lie in. Out: the names of the layers that are in force.
Runs in the worker only, while it has one thread; a layer that the kernel refuses is left out and said so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from antiphon_server.media import landlock, seccomp

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
OPEN_FILES = 64


def limit(cpu_s: int, memory_bytes: int) -> None:
    """Kernel limits: CPU time, address space, open files, no core dump."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_output(output_bytes: int) -> None:
    """No file can grow past this: a write beyond fails with EFBIG."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (output_bytes, output_bytes))


def confine(program: Path) -> tuple[str, ...]:
    """Takes network, processes and files away. Returns what is in force, for the log."""
    readable = [Path(place) for place in ("/usr", "/lib", "/lib64", "/etc/ld.so.cache")]
    readable += [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[1]]
    readable += [program, program.resolve().parent]
    layers = ["rlimits"]
    layers += _try("network namespace", _leave_network)
    # Changing user namespace clears the parent-death signal, so it is set after.
    _die_with_parent()
    layers += _try("seccomp", seccomp.install)
    layers += _try("landlock", lambda: landlock.restrict(readable))
    return tuple(layers)


def _try(name: str, layer: Callable[[], object]) -> list[str]:
    try:
        layer()
    except OSError:
        return []
    return [name]


def _leave_network() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


def _die_with_parent() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
