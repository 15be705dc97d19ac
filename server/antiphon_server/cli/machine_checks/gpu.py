"""The check of the GPUs: what there is, whether the wheels run on it, and which tier fits."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon_server.cli.machine_checks.finding import Finding
from antiphon_server.cli.machine_checks.machine import Gpu

# The CUDA lock's wheels are built for CUDA 13: https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/.
_OLDEST_DRIVER = 580
# bfloat16 and asynchronous copies, which the kernels use.
_OLDEST_CAPABILITY = (8, 0)
# Tier, GPUs, memory of each, as in deploy/tiers/README.md; the first that fits is the largest.
_TIERS = (("plus", 8, 141), ("flash", 2, 80), ("light", 1, 80))
_GB = 10**9
# A driver lists a few percent less than the card's name says.
_LISTED_SHARE = 0.95


def check_gpus(gpus: Sequence[Gpu], *, has_cuda_build: bool) -> Finding:
    if not gpus:
        fix = "install the driver, or antiphon[cpu]" if has_cuda_build else ""
        return Finding("gpu", "problem" if has_cuda_build else "ok", "none found: serving on the CPU", fix)
    detail = "; ".join(_described(gpu) for gpu in gpus)
    for gpu in gpus:
        if gpu.driver_release is not None and gpu.driver_release < _OLDEST_DRIVER:
            fix = f"install driver {_OLDEST_DRIVER} or later: the CUDA 13 wheels need it"
            return Finding("gpu", "problem", detail, fix)
        if gpu.capability is not None and gpu.capability < _OLDEST_CAPABILITY:
            fix = "use a GPU of compute capability 8.0 or later, or the CPU"
            return Finding("gpu", "problem", detail, fix)
    tier = _fitting_tier(gpus)
    if tier is None:
        return Finding("gpu", "ok", f"{detail}; no tier fits: see `antiphon plan`")
    return Finding("gpu", "ok", f"{detail}; tier {tier} fits")


def _described(gpu: Gpu) -> str:
    size = f"{gpu.memory_bytes / (1 << 30):.1f} GiB" if gpu.memory_bytes else "shared memory"
    capability = ".".join(map(str, gpu.capability)) if gpu.capability else "unknown"
    return f"{gpu.name}, {size}, driver {gpu.driver}, compute capability {capability}"


def _fitting_tier(gpus: Sequence[Gpu]) -> str | None:
    sizes = sorted((gpu.memory_bytes or 0 for gpu in gpus), reverse=True)
    for name, count, gigabytes in _TIERS:
        if len(sizes) >= count and sizes[count - 1] >= gigabytes * _GB * _LISTED_SHARE:
            return name
    return None
