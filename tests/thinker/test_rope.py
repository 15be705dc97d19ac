"""Packed positions are exact, increment by one, and rotate heads as in transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeTextConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeThinkerTextRotaryEmbedding,
    apply_rotary_pos_emb,
)

from antiphon_executor.models.layers.packed_mrope import PackedMRope, pack, pack_offset, unpack, unpack_tensor

positions = st.integers(0, (1 << 20) * 2_048 - 1).map(lambda steps: steps / 2_048)


def test_whole_positions_are_their_own_packed_form() -> None:
    whole = np.array([[0, 1, 65_535], [2, 3, (1 << 20) - 1]], dtype=np.float64)
    np.testing.assert_array_equal(pack(whole), whole.astype(np.int32))


@given(st.lists(positions, min_size=1))
def test_unpack_undoes_pack(values: list[float]) -> None:
    packed = pack(np.array(values))
    assert packed.dtype == np.int32
    assert unpack(packed).tolist() == values


@given(st.integers(-60_000 * 2, 60_000 * 2).map(lambda halves: halves / 2), st.integers(60_000, 65_000))
def test_a_packed_offset_plus_a_count_is_a_packed_position(offset: float, count: int) -> None:
    """As the runner decodes: index of the token, plus what its position is off."""
    assert unpack(np.array([count + pack_offset(offset)], dtype=np.int32)).tolist() == [count + offset]


def test_a_position_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="positions must be"):
        pack(np.array([float(1 << 20)]))


def test_rotation_is_transformers_rotation() -> None:
    section = [6, 5, 5]
    rope_parameters = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": section,
        "mrope_interleaved": True,
    }
    config = Qwen3OmniMoeTextConfig(
        head_dim=32, hidden_size=128, num_attention_heads=4, rope_parameters=rope_parameters
    )
    floats = torch.tensor([[0, 1, 6.5, 13, 900.25], [0, 1, 2, 3, 4], [5, 1, 0, 7, 8.5]])
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(5, 4 * 32, generator=generator)
    key = torch.randn(5, 2 * 32, generator=generator)
    cos, sin = Qwen3OmniMoeThinkerTextRotaryEmbedding(config)(query[None], floats[:, None])
    expected = apply_rotary_pos_emb(
        query.view(1, 5, 4, 32).transpose(1, 2), key.view(1, 5, 2, 32).transpose(1, 2), cos, sin
    )
    packed = torch.from_numpy(pack(floats.double().numpy())).long()
    assert torch.equal(unpack_tensor(packed), floats)
    turned = PackedMRope(32, 1e6, section)(packed, query, key)
    for ours, theirs in zip(turned, expected, strict=True):
        torch.testing.assert_close(ours, theirs[0].transpose(0, 1).reshape(5, -1))
