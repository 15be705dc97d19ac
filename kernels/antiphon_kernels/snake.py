"""The activation SnakeBeta, written directly into the window that the next convolution reads.

The window is `[tail | x + gain * sin(rate * x)**2]`; `tail` is the end of the stream's previous window.
"""

from __future__ import annotations

import torch
from torch import Tensor


def constants(alpha: Tensor, beta: Tensor, repeats: int = 1) -> tuple[Tensor, Tensor]:
    """`rate` and `gain`, float32 [repeats * channels], from the log-scale `alpha` and `beta` [channels].

    `repeats` puts the same channels side by side, so that rows of few channels can be computed as wide rows.
    Source: `Qwen3OmniMoeSnakeBeta` (arXiv 2006.08195, with a separate magnitude).
    """
    rate = alpha.float().exp()
    gain = 1.0 / (beta.float().exp() + 1e-9)
    return rate.repeat(repeats), gain.repeat(repeats)


def reference(x: Tensor, rate: Tensor, gain: Tensor, tail: Tensor, started: Tensor, lead_in: int) -> Tensor:
    """The definition.

    `x` [batch, steps, channels]; `rate`, `gain` float32 [repeats * channels]; `tail` [batch, tail_steps,
    channels]. `started` [batch, 1, 1]: 0 in the first frame of a stream, else 1. The first `lead_in` steps
    are multiplied by it, because they lie before the stream's beginning, where a causal convolution reads
    zeros. Returns [batch, tail_steps + steps, channels] in the dtype of `x`.
    """
    channels = x.shape[-1]
    wide = x.float()
    wide = wide + gain[:channels] * (rate[:channels] * wide).sin().square()
    wide[:, :lead_in] *= started
    return torch.cat([tail, wide.to(x.dtype)], dim=1)


def on_cpu(x: Tensor, rate: Tensor, gain: Tensor, tail: Tensor, started: Tensor, lead_in: int) -> Tensor:
    """`reference` in few passes over rows wide enough for SIMD; `steps` is a multiple of `repeats`."""
    batch, steps, channels = x.shape
    wide = x.reshape(batch, steps * channels // rate.shape[0], rate.shape[0]).float()
    wave = wide * rate
    wave.sin_().mul_(wave)
    out = torch.addcmul(wide, wave, gain, out=wave).view(x.shape).to(x.dtype)
    if lead_in:
        out[:, :lead_in].mul_(started)
    return torch.cat([tail, out], dim=1) if tail.shape[1] else out
