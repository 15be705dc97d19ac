"""Fractional TM-RoPE positions packed into integers, and the rotary embedding that reads them.

vLLM increments integer positions by one, but a video advances by fractions. The whole part is in the low 20
bits, the fraction (in 1/2048) above them, so a whole position equals its packed form.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from vllm import _custom_ops as ops

WHOLE_BITS = 20
FRACTION_BITS = 11
_WHOLE = (1 << WHOLE_BITS) - 1
_STEPS = 1 << FRACTION_BITS


def pack(positions: NDArray[np.float64]) -> NDArray[np.int32]:
    """Non-negative positions of any shape → packed int32. Exact for multiples of 1/2048.

    ValueError for a position of 2**20 or more (22 hours of audio).
    """
    steps = np.rint(np.asarray(positions, dtype=np.float64) * _STEPS).astype(np.int64)
    whole, fraction = steps >> FRACTION_BITS, steps & (_STEPS - 1)
    if steps.size and (whole.max() > _WHOLE or whole.min() < 0):
        raise ValueError(f"positions must be from 0 to {_WHOLE}")
    return (whole | fraction << WHOLE_BITS).astype(np.int32)


def pack_offset(offset: float) -> int:
    """The number to add to a token count to get a packed position; `offset` may be negative."""
    steps = round(offset * _STEPS)
    return (steps >> FRACTION_BITS) + ((steps & (_STEPS - 1)) << WHOLE_BITS)


def unpack(packed: NDArray[np.int32]) -> NDArray[np.float64]:
    """The inverse of `pack`."""
    steps = packed.astype(np.int64)
    return (steps & _WHOLE) + (steps >> WHOLE_BITS) / _STEPS


def unpack_tensor(packed: torch.Tensor) -> torch.Tensor:
    """`unpack` on any device: int [...] to float32 [...]."""
    return (packed & _WHOLE).float() + (packed >> WHOLE_BITS).float() / _STEPS


class PackedMRope(nn.Module):
    """Interleaved multimodal rotary embedding over packed positions; called like vLLM's rotary layers.

    `mrope_section` [t, h, w] divides the `head_size` / 2 frequencies; h and w use channels 1 and 2 of every
    three. Angles are computed in float32, as in transformers' `Qwen3OmniMoeThinkerTextRotaryEmbedding`, not
    looked up, so no table limits the length of a video.
    """

    inv_freq: torch.Tensor
    is_height: torch.Tensor
    is_width: torch.Tensor

    def __init__(self, head_size: int, theta: float, mrope_section: list[int]) -> None:
        super().__init__()
        if sum(mrope_section) * 2 != head_size:
            raise ValueError(f"mrope_section {mrope_section} does not divide a head of {head_size}")
        self.head_size = head_size
        channel = torch.arange(head_size // 2)
        exponent = torch.arange(0, head_size, 2, dtype=torch.float) / head_size
        self.register_buffer("inv_freq", 1.0 / theta**exponent, persistent=False)
        self.register_buffer(
            "is_height", (channel % 3 == 1) & (channel < 3 * mrope_section[1]), persistent=False
        )
        self.register_buffer(
            "is_width", (channel % 3 == 2) & (channel < 3 * mrope_section[2]), persistent=False
        )

    def forward(
        self, positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotates `query` and `key` [num_tokens, heads * head_size], on an eager CPU in place.

        `positions`: packed [3, num_tokens], or their `table`.
        """
        table = positions if positions.is_floating_point() else self.table(positions, query.dtype)
        if query.device.type == "cpu" and not torch.compiler.is_compiling():
            rows = torch.arange(len(table))
            ops.rotary_embedding(rows, query, key, self.head_size, table, is_neox=True)
            return query, key
        cos, sin = table.chunk(2, dim=-1)
        return self._rotate(query, cos, sin), self._rotate(key, cos, sin)

    def table(self, positions: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Cosines, then sines, of each position's angles: [num_tokens, head_size]. All layers share it."""
        time, height, width = unpack_tensor(positions).unsqueeze(-1).unbind(0)
        position = torch.where(self.is_width, width, torch.where(self.is_height, height, time))
        angles = position * self.inv_freq
        return torch.cat((angles.cos(), angles.sin()), dim=-1).to(dtype)

    def _rotate(self, states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        heads = states.view(states.shape[0], -1, self.head_size)
        first, second = heads.chunk(2, dim=-1)
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        return cast("torch.Tensor", rotated).view_as(states)
