"""Everything a decoder gives up before it sees a byte of media, in the order in which it must happen.

In: the limits. Out: which layers are in force, each one probed.
Runs in the worker, while it has one thread. A layer that the kernel refuses is reported; the caller decides.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from antiphon_server.media.sandbox import capabilities, landlock, probes, seccomp
from antiphon_server.media.sandbox.layers import Layer, Layers
from antiphon_server.media.sandbox.profiles import DECODING

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
# "nobody" on Linux: owns no file, and needs no entry in /etc/passwd.
_NOBODY = 65_534


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder may use. `memory_bytes` is address space beyond what the process has already."""

    cpu_s: int
    memory_bytes: int
    output_bytes: int
    open_files: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The server's user and network, for a decoder to differ from, and the process that it must not outlive.

    An unknown network is empty.
    """

    user: int
    network: str
    parent: int

    @classmethod
    def here(cls) -> Origin:
        return cls(os.geteuid(), _network_namespace(), os.getpid())


def confine(limits: Limits, origin: Origin, output: int) -> Layers:
    """Takes network, processes, files and rights away. `output`: the descriptor that `limits` bounds."""
    _be_the_first_to_go()
    found = {Layer.NETWORK: _network_namespace() not in ("", origin.network)}
    found[Layer.USER] = _give_up_rights(origin.parent) or origin.user != 0
    found[Layer.NO_NEW_PRIVS] = probes.no_new_privileges()
    found[Layer.CAPABILITIES] = probes.no_capabilities()
    address_space_bytes = _limit(limits)
    _attempt(landlock.restrict)
    found[Layer.LANDLOCK] = probes.no_files()
    found[Layer.LIMITS] = probes.limited(address_space_bytes, limits.open_files, output, limits.output_bytes)
    _attempt(lambda: seccomp.install(DECODING))
    found[Layer.SECCOMP] = probes.filtered(DECODING)
    return Layers.of(found)


def _attempt(layer: Callable[[], object]) -> None:
    """What came of it is probed, not believed."""
    with contextlib.suppress(OSError, ValueError):
        layer()


def leave_network() -> None:
    """Moves into a network namespace with nothing in it, where that is allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with(parent: int) -> None:
    """SIGKILL when the parent ends, or now if it has ended already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:
        os._exit(1)


def _network_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return ""


def _be_the_first_to_go() -> None:
    """Where memory runs out, the kernel ends a decoder before the server."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(b"1000")


def _give_up_rights(parent: int) -> bool:
    """Capabilities, and root. Returns whether the process became another user."""
    switches = capabilities.may_switch_user()
    _attempt(capabilities.close_bounding_set)
    if switches:
        _attempt(_become_nobody)
    _attempt(capabilities.drop)
    # A change of user clears the parent-death signal, so it is set after.
    die_with(parent)
    _attempt(_forbid_new_privileges)
    return switches and os.getresuid() == (_NOBODY, _NOBODY, _NOBODY)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _forbid_new_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _limit(limits: Limits) -> int:
    """Sets the kernel's limits; they can only be lowered after. Returns the whole address space in bytes."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    address_space_bytes = pages * resource.getpagesize() + limits.memory_bytes
    _attempt(lambda: resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1)))
    for kind, most in {
        resource.RLIMIT_AS: address_space_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.output_bytes,
        resource.RLIMIT_CORE: 0,
    }.items():
        _attempt(partial(resource.setrlimit, kind, (most, most)))
    return address_space_bytes
