"""Confinement of a decoder process before it reads media: every layer, in the required order, and probed.

Runs in the worker, which has one thread. A layer that the kernel refuses is reported; the caller decides.
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
# The unprivileged user and group of Linux, by number: /etc/passwd may lack the name.
_UNPRIVILEGED_ID = 65_534


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """The resources of a decoder. `memory_bytes`: address space beyond what the process already has."""

    cpu_s: int
    memory_bytes: int
    output_bytes: int
    open_files: int


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server's user and network namespace, from which a decoder's must differ, and its parent process.

    `network` is empty if it is unknown. The decoder is killed when `parent` ends.
    """

    user: int
    network: str
    parent: int

    @classmethod
    def current(cls) -> ServerIdentity:
        """Of this process, as the parent."""
        return cls(os.geteuid(), _network_namespace(), os.getpid())


def confine(limits: WorkerLimits, server: ServerIdentity, output: int) -> Layers:
    """Removes access to network, processes, files and privileges; returns the layers that are in force.

    `output`: the descriptor whose size `limits` bounds.
    """
    _prefer_for_oom_kill()
    found = {Layer.NETWORK: _network_namespace() not in ("", server.network)}
    found[Layer.USER] = _drop_privileges(server.parent) or server.user != 0
    found[Layer.NO_NEW_PRIVS] = probes.no_new_privs_set()
    found[Layer.CAPABILITIES] = probes.no_capabilities()
    address_space_bytes = _set_limits(limits)
    _attempt(landlock.restrict)
    found[Layer.LANDLOCK] = probes.files_unreachable()
    found[Layer.LIMITS] = probes.limits_in_force(
        address_space_bytes, limits.open_files, output, limits.output_bytes
    )
    _attempt(lambda: seccomp.install(DECODING))
    found[Layer.SECCOMP] = probes.seccomp_in_force(DECODING)
    return Layers.of(found)


def _attempt(layer: Callable[[], object]) -> None:
    """Applies a layer. A probe, not the return code, shows whether it is in force."""
    with contextlib.suppress(OSError, ValueError):
        layer()


def enter_empty_network() -> None:
    """Moves the process into an empty network namespace, if the kernel allows it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def die_with_parent(parent: int) -> None:
    """Asks the kernel for SIGKILL when the parent ends; exits now if it has ended already."""
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


def _prefer_for_oom_kill() -> None:
    """If memory runs out, the kernel kills a decoder before the server."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(b"1000")


def _drop_privileges(parent: int) -> bool:
    """Drops capabilities and root. Returns whether the process became another user."""
    can_switch = capabilities.may_switch_user()
    _attempt(capabilities.drop_bounding_set)
    if can_switch:
        _attempt(_become_unprivileged)
    _attempt(capabilities.drop_held)
    # A change of user clears the parent-death signal, so it is set afterwards.
    die_with_parent(parent)
    _attempt(_forbid_new_privileges)
    return can_switch and os.getresuid() == (_UNPRIVILEGED_ID, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)


def _become_unprivileged() -> None:
    os.setgroups([])
    os.setresgid(_UNPRIVILEGED_ID, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)
    os.setresuid(_UNPRIVILEGED_ID, _UNPRIVILEGED_ID, _UNPRIVILEGED_ID)


def _forbid_new_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _set_limits(limits: WorkerLimits) -> int:
    """Sets the resource limits, which cannot be raised again. Returns the total address space in bytes."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    address_space_bytes = pages * resource.getpagesize() + limits.memory_bytes
    _attempt(lambda: resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1)))
    for kind, limit in {
        resource.RLIMIT_AS: address_space_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.output_bytes,
        resource.RLIMIT_CORE: 0,
    }.items():
        _attempt(partial(resource.setrlimit, kind, (limit, limit)))
    return address_space_bytes
