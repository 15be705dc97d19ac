"""Weights in the layout of the C++ kernels: float32, channels padded with zeros to a multiple of 8."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from antiphon_kernels.native.library import Matrix

Structure = TypeVar("Structure", bound=ctypes.Structure)

_LANES = 8
_PANELS = (32, 16, 8)


def padded(channels: int) -> int:
    """The next multiple of 8."""
    return -(-channels // _LANES) * _LANES


class Packing:
    """Packs tensors; what it returns is valid as long as this object lives."""

    def __init__(self) -> None:
        self._kept: list[Any] = []

    def floats(self, tensor: Tensor, dtype: torch.dtype = torch.float32) -> int:
        """The address of a copy."""
        copy = tensor.detach().to(dtype, copy=True).contiguous()
        self._kept.append(copy)
        return copy.data_ptr()

    def channels(self, tensor: Tensor) -> int:
        """The address of a padded copy of [channels]."""
        return self.floats(functional.pad(tensor.detach().float(), (0, padded(len(tensor)) - len(tensor))))

    def array(self, kind: type[Structure], items: Sequence[Structure]) -> Any:
        array = (kind * len(items))(*items)
        self._kept.append(array)
        return array

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Matrix:
        """`weight`: [out, in]."""
        return self.matrix(weight.t().unsqueeze(0), bias)

    def conv(self, weight: Tensor, bias: Tensor, dilation: int) -> Matrix:
        """`weight`: [out, in, kernel]."""
        return self.matrix(weight.permute(2, 1, 0), bias, dilation)

    def transposed_conv(self, weight: Tensor, bias: Tensor, stride: int) -> Matrix:
        """`weight`: [in, out, kernel]; an output row is `stride` rows of padded channels."""
        inputs, outputs, kernel = weight.shape
        extra = padded(outputs) - outputs
        by_lag = functional.pad(weight.detach().float().permute(2, 0, 1), (0, extra))
        # The oldest input, with the largest lag, is the first tap.
        taps = by_lag.view(kernel // stride, stride, inputs, outputs + extra).flip(0).transpose(1, 2)
        return self.matrix(taps.flatten(2), functional.pad(bias.detach().float(), (0, extra)).repeat(stride))

    def matrix(self, weight: Tensor, bias: Tensor | None, dilation: int = 1) -> Matrix:
        """`weight`: [taps, in, out]; `bias`: [out]."""
        taps, inputs, outputs = weight.shape
        more_in, more_out = padded(inputs) - inputs, padded(outputs) - outputs
        full = functional.pad(weight.detach().float(), (0, more_out, 0, more_in))
        panel = next(width for width in _PANELS if full.shape[2] % width == 0)
        packed = full.reshape(taps * full.shape[1], -1, panel).transpose(0, 1)
        address = None if bias is None else self.channels(bias)
        return Matrix(self.floats(packed), address, full.shape[1], full.shape[2], taps, dilation)
