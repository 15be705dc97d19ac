"""Test program: confines itself like a decoder, then makes system calls and other forbidden attempts.

Arguments: `confined` or `free`, a user id, and system calls as JSON lists (number, then arguments; `parent`
is the process that started it). It prints the result of each call and attempt as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path

from antiphon_server.media.sandbox.confinement import ServerIdentity, WorkerLimits, confine

OUTPUT_BYTES = 1 << 16
MEMORY_BYTES = 1 << 28


def attempts(output: int) -> dict[str, Callable[[], object]]:
    """Forbidden operations in Python. None has an effect after this process."""
    return {
        "memory": lambda: bytearray(2 * MEMORY_BYTES),
        "shared memory": lambda: mmap.mmap(-1, 2 * MEMORY_BYTES),
        "a longer output": lambda: os.pwrite(output, b"x", OUTPUT_BYTES),
        "a file": lambda: Path(__file__).read_bytes(),
        "the server's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "a directory": lambda: next(Path("/").iterdir()),
        "a library": lambda: ctypes.CDLL("libz.so.1"),
        "a module": lambda: importlib.import_module("antiphon_server.media.decode.sniff"),
        "a process": lambda: os.fork() or os._exit(0),
    }


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except (OSError, MemoryError, ImportError):
        return "refused"
    return "done"


def call(libc: ctypes.CDLL, words: list[int]) -> str:
    result = libc.syscall(*map(ctypes.c_long, words))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "0"


def become(user: int) -> None:
    """Switches the user here, because that user may not be able to read this interpreter."""
    if user != os.geteuid():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def main() -> None:
    mode, user, calls = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    parent = os.getppid()
    numbers = [[parent if word == "parent" else word for word in words] for words in calls]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    output = os.memfd_create("output")
    become(user)
    said: dict[str, object] = {}
    if mode == "confined":
        limits = WorkerLimits(cpu_s=20, memory_bytes=MEMORY_BYTES, output_bytes=OUTPUT_BYTES, open_files=64)
        origin = ServerIdentity(user, network="", parent=parent)
        said["layers"] = confine(limits, origin, output).in_force
    said["calls"] = [call(libc, words) for words in numbers]
    said["attempts"] = {name: outcome(attempt) for name, attempt in attempts(output).items()}
    os.write(1, json.dumps(said).encode())


if __name__ == "__main__":
    main()
