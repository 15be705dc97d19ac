"""What the stages of the acceptance script measure with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

REPEATS = 50


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Microseconds a call, after a warm-up, by CUDA events; 0 on a CPU."""
    run()
    if device.type != "cuda":
        return 0.0
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(REPEATS):
        run()
    end.record()
    torch.cuda.synchronize()
    return 1_000.0 * start.elapsed_time(end) / REPEATS


def relative_error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.float() - expected.float()).norm() / expected.float().norm().clamp(min=1e-30))
