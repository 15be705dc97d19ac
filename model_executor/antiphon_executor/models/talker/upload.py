"""Copies from the host to the device that do not wait for the step in flight."""

from __future__ import annotations

from typing import Any

import torch


def uploaded(values: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    """`values` of the host on `device`, cast there. A GPU copies them from pinned memory, in stream order."""
    if device.type == "cuda":
        # PyTorch reuses the pinned memory only after the copy is done.
        values = values.pin_memory()
    return values.to(device, non_blocking=True).to(dtype or values.dtype)


def numbers(values: Any, device: torch.device) -> torch.Tensor:
    """A list of whole numbers, or a list of lists, as int64 on `device`."""
    return uploaded(torch.tensor(values, dtype=torch.int64), device)
