"""A compromised decoder can request nothing from the kernel, as root or as another user.

No attempt can change the machine, even if every layer were missing: the kernel refuses its arguments, or they
ask for no change.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.media.sandbox.layers import REQUIRED

CONFINED_PROCESS = str(Path(__file__).with_name("confined_process.py"))
BAD = -1
# An address that nothing can be read from.
NOWHERE = -(1 << 63)
SERVICE_USER = 10_001

# Name: number on x86_64, arguments, what the kernel says to root without the sandbox.
ATTEMPTS: dict[str, tuple[int, tuple[int | str, ...], str]] = {
    "clock_settime": (227, (99, 0), "EINVAL"),
    "settimeofday": (164, (1, 0), "EFAULT"),
    "sethostname": (170, (NOWHERE, 1), "EFAULT"),
    "chroot": (161, (0,), "EFAULT"),
    "mount": (165, (0, 0, 0, 0, 0), "EFAULT"),
    "umount2": (166, (0, 1 << 30), "EINVAL"),
    "prlimit64 of the server": (302, ("parent", 999, 0, 0), "EINVAL"),
    "setrlimit": (160, (999, 0), "EFAULT"),
    "kill of the server": (62, ("parent", 0), "0"),
    "tgkill of the server": (234, ("parent", "parent", 0), "0"),
    "tkill of the server": (200, ("parent", 0), "0"),
    "sched_setaffinity of the server": (203, ("parent", 8, 0), "EFAULT"),
    "sched_getaffinity of the server": (204, ("parent", 1, 0), "EINVAL"),
    "setpriority of the server": (141, (99, "parent", 0), "EINVAL"),
    "ptrace": (101, (99_999, 0, 0, 0), "ESRCH"),
    "process_vm_readv of the server": (310, ("parent", 0, 0, 0, 0, 1), "EINVAL"),
    "pidfd_open of the server": (434, ("parent", 1 << 20), "EINVAL"),
    "memfd_create": (319, (0, 0), "EFAULT"),
    "fallocate": (285, (BAD, 0, 0, 1), "EBADF"),
    "ftruncate": (77, (BAD, 0), "EBADF"),
    "shmget": (29, (0, 0, 0), "EINVAL"),
    "pipe2": (293, (0, 1), "EINVAL"),
    "execve": (59, (0, 0, 0), "EFAULT"),
    "execveat": (322, (BAD, 0, 0, 0, 0), "EFAULT"),
    "clone of a process": (56, (0x800, 0, 0, 0, 0), "EINVAL"),
    "clone3": (435, (0, 0), "EINVAL"),
    "unshare": (272, (1,), "EINVAL"),
    "setns": (308, (BAD, 0), "EBADF"),
    "socket": (41, (BAD, 0, 0), "EAFNOSUPPORT"),
    "connect": (42, (BAD, 0, 0), "EBADF"),
    "open": (2, (0, 0), "EFAULT"),
    "openat": (257, (BAD, 0, 0), "EFAULT"),
    "openat2": (437, (BAD, 0, 0, 0), "EINVAL"),
    "newfstatat": (262, (BAD, 0, 0, 0), "EFAULT"),
    "unlink": (87, (0,), "EFAULT"),
    "dup": (32, (BAD,), "EBADF"),
    "ioctl": (16, (BAD, 0, 0), "EBADF"),
    "fcntl": (72, (BAD, 0), "EBADF"),
    "prctl": (157, (BAD,), "EINVAL"),
    "seccomp": (317, (99, 0, 0), "EINVAL"),
    "setresuid": (117, (BAD, BAD, BAD), "0"),
    "capset": (126, (0, 0), "EFAULT"),
    "bpf": (321, (BAD, 0, 0), "EINVAL"),
    "perf_event_open": (298, (0, 0, BAD, BAD, 0), "EFAULT"),
    "io_uring_setup": (425, (0, 0), "EFAULT"),
    "userfaultfd": (323, (2,), "EINVAL"),
    "keyctl": (250, (BAD, 0, 0, 0, 0), "ENOTSUP"),
    "mmap of code": (9, (0, 4096, 5, 0x22, BAD, 0), "0"),
    "mprotect of code": (10, (0, 0, 4), "0"),
}

OPERATIONS = [
    "memory",
    "shared memory",
    "a longer output",
    "a file",
    "the server's environment",
    "a directory",
    "a library",
    "a module",
    "a process",
]
USERS = sorted({os.geteuid(), SERVICE_USER}) if os.geteuid() == 0 else [os.geteuid()]
on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the kernel's other answers are those to root")


@cache
def said(mode: str, user: int) -> dict[str, Any]:
    calls = [[number, *arguments] for number, arguments, _ in ATTEMPTS.values()]
    command = [sys.executable, "-I", CONFINED_PROCESS, mode, str(user), json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    answer["calls"] = dict(zip(ATTEMPTS, answer["calls"], strict=True))
    return answer


@on_x86_64
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_decoder_is_refused_the_call(name: str, user: int) -> None:
    assert said("confined", user)["calls"][name] == "EPERM"


@on_x86_64
@as_root
@pytest.mark.parametrize("name", ATTEMPTS)
def test_without_the_sandbox_the_kernel_gives_another_answer(name: str) -> None:
    """So that the test above cannot pass because the kernel refuses the attempt by itself."""
    assert said("free", 0)["calls"][name] == ATTEMPTS[name][2]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_decoder_cannot_have(operation: str, user: int) -> None:
    assert said("confined", user)["attempts"][operation] == "refused"


@as_root
def test_without_the_sandbox_all_of_it_can_be_had() -> None:
    assert set(said("free", 0)["attempts"].values()) == {"done"}
    assert sorted(said("free", 0)["attempts"]) == sorted(OPERATIONS)


@pytest.mark.parametrize("user", USERS)
def test_the_required_layers_are_found_in_force(user: int) -> None:
    assert set(REQUIRED) <= set(said("confined", user)["layers"])
