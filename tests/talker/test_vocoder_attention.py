"""The vocoder's attention: which frames a frame sees, for streams of any length."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.models.code2wav.transformer import Rotary, attention_bias, rotate
from tests.talker.vocoder_oracle import SIZES


@pytest.mark.parametrize("ring", [1, 4, 71])
@pytest.mark.parametrize("before", [0, 1, 3, 4, 5, 70, 71, 72, 500])
@pytest.mark.parametrize("frames", [1, 6])
def test_a_frame_sees_itself_and_the_ring_of_frames_before_it(ring: int, before: int, frames: int) -> None:
    bias = attention_bias(torch.tensor([before]), frames, ring, torch.float32)[0, 0]

    numbers = {place: number for number in range(before) for place in [number % ring]}
    keys = [numbers.get(place) for place in range(ring)] + list(range(before, before + frames))
    for new in range(frames):
        seen = {key for key, value in zip(keys, bias[new].tolist(), strict=True) if value == 0}
        now = before + new
        assert seen == set(range(max(0, now - ring), now + 1))


def test_scores_depend_on_distance_alone_even_after_a_year_of_speech() -> None:
    rotary = Rotary(SIZES["released"])
    query, key = torch.randn(2, 1, 1, 1, 64).unbind()

    def score(position: int) -> torch.Tensor:
        at = torch.tensor([position])
        cos_k, sin_k = rotary(at, 1, torch.float32)
        cos_q, sin_q = rotary(at + 3, 1, torch.float32)
        return (rotate(query, cos_q, sin_q) * rotate(key, cos_k, sin_k)).sum()

    a_year = 365 * 24 * 3600 * 25 // 2
    torch.testing.assert_close(score(a_year), score(0), rtol=1e-4, atol=1e-4)
