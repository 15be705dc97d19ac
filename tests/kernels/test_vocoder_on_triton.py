"""A whole vocoder step through the Triton kernels equals the torch version."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav  # noqa: E402
from antiphon_kernels import dispatch, snake_triton, stream_conv_triton  # noqa: E402
from tests.kernels.conftest import assert_close_for  # noqa: E402
from tests.talker.vocoder_oracle import SIZES, one_shot, random_code2wav  # noqa: E402


def test_two_streams_step_through_the_kernels_as_the_oracle_decodes_them(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    small = SIZES["unit"].to_dict() | {"upsampling_ratios": (2, 2), "upsample_rates": (4, 3)}
    oracle = random_code2wav(type(SIZES["unit"])(**small), seed=0)
    vocoder = StreamingCode2Wav(oracle.config, slots=3).to(device)
    vocoder.load_state_dict(oracle.state_dict())
    codes = torch.randint(0, oracle.config.codebook_size, (2, 4, oracle.config.num_quantizers))
    monkeypatch.setattr(dispatch, "snake", snake_triton.snake)
    monkeypatch.setattr(dispatch, "stream_conv", stream_conv_triton.stream_conv)
    monkeypatch.setattr(dispatch, "stream_transposed_conv", stream_conv_triton.stream_transposed_conv)

    slots = torch.tensor([2, 1], device=device)
    waves = [vocoder(step.to(device), slots) for step in codes.split([1, 1, 2], dim=1)]

    heard = torch.cat(waves, dim=1)[:, vocoder.lookahead_samples :]
    assert_close_for(torch.float32, heard.cpu(), one_shot(oracle, codes))
