"""The served audio tower equals the reference for any length, and encodes 20 minutes in seconds."""

from __future__ import annotations

import time

import pytest
import torch

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.models.qwen3_5_omni.audio_tower import AudioTower
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeAudioConfig
from antiphon_executor.reference.audio_encoder import AudioEncoder
from tests.machine import slowness
from tests.thinker.one_rank import load, make_random, one_rank  # noqa: F401

CONFIG = Qwen3_5OmniMoeAudioConfig(
    d_model=64,
    encoder_layers=2,
    encoder_attention_heads=4,
    encoder_ffn_dim=128,
    downsample_hidden_size=8,
    output_dim=96,
)
# 6,400 frames are a chunk, 800 a block, 100 a window.
LENGTHS = [1, 99, 100, 101, 130, 799, 800, 801, 1_650, 6_399, 6_400, 6_401, 7_201, 12_801]


@pytest.fixture(scope="module")
def towers(one_rank: None) -> tuple[AudioEncoder, AudioTower]:  # noqa: F811
    reference = AudioEncoder(CONFIG).eval()
    make_random(reference, seed=0)
    tower = AudioTower(CONFIG, prefix="audio_tower")
    load(tower, reference)
    return reference, tower


@pytest.mark.parametrize("frames", LENGTHS)
@torch.no_grad()
def test_the_rows_are_the_references(towers: tuple[AudioEncoder, AudioTower], frames: int) -> None:
    reference, tower = towers
    mel = torch.randn(128, frames, generator=torch.Generator().manual_seed(frames))
    rows = tower(mel)
    assert rows.shape == (AudioGeometry.of(CONFIG).tokens(frames), 96)
    torch.testing.assert_close(rows, reference(mel), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_twenty_minutes_take_seconds(towers: tuple[AudioEncoder, AudioTower]) -> None:
    """Linear in the length: attention ends at 8 s. Generous, for a busy machine."""
    mel = torch.randn(128, 120_000)
    began = time.monotonic()
    assert len(towers[1](mel)) == 8_400
    assert time.monotonic() - began < 20 * slowness()


@torch.no_grad()
def test_an_hour_is_never_convolved_at_once(
    towers: tuple[AudioEncoder, AudioTower], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The convolution planes dominate memory, so no call may see more than the windows of a chunk."""
    tower, seen = towers[1], []
    convolve = tower.get_submodule("conv2d1").forward

    def noted(planes: torch.Tensor) -> torch.Tensor:
        seen.append(len(planes))
        return convolve(planes)

    monkeypatch.setattr(tower.get_submodule("conv2d1"), "forward", noted)
    tower(torch.zeros(128, 360_000))
    assert sum(seen) == 3_600
    assert max(seen) == 64
