"""RMS norm on a CPU as one operation of vLLM's library; vLLM itself uses eight operations of torch there.

It is registered with vLLM as the out-of-tree version of `RMSNorm`. A compiled model does not use it: the
compiler fuses vLLM's own version.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from vllm import _custom_ops as ops
from vllm.model_executor.custom_op import CustomOp
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.platforms import current_platform

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.model_executor.layers.layernorm.RMSNorm": (
        "forward_native(x, residual)",
        "has_weight",
        "hidden_size",
        "variance_epsilon",
        "variance_size_override",
        "weight",
    ),
}

# The operation works on whole vectors of this many numbers.
_VECTOR = 32


class CpuRMSNorm(RMSNorm):
    """`forward` takes and returns what vLLM's does. The sum with the residual may be written in place."""

    def forward_cpu(self, x: Tensor, residual: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        if not self._is_supported(x):
            result: Tensor | tuple[Tensor, Tensor] = self.forward_native(x, residual)
            return result
        if residual is None:
            x = x.contiguous()
            out = torch.empty_like(x)
            ops.rms_norm(out, x, self.weight.data, self.variance_epsilon)
            return out
        x, residual = x.contiguous(), residual.contiguous()
        ops.fused_add_rms_norm(x, residual, self.weight.data, self.variance_epsilon)
        return x, residual

    def _is_supported(self, x: Tensor) -> bool:
        return (
            self.has_weight
            and self.variance_size_override is None
            and self.hidden_size % _VECTOR == 0
            and x.shape[-1] == self.hidden_size
            and self.weight.dtype == x.dtype
        )


@cache
def use_cpu_rms_norm() -> None:
    """Layers that are made from now on in this process use it, if the process runs on a CPU."""
    if current_platform.is_cpu():
        CustomOp.register_oot(CpuRMSNorm, name="RMSNorm")
