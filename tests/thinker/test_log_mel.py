"""Log-mel frames computed piece by piece equal those of the whole clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from antiphon_executor.models.thinker.log_mel import PIECE_FRAMES, log_mel
from antiphon_executor.reference import mel

PIECE = PIECE_FRAMES * 160


@pytest.mark.parametrize(
    "samples",
    [1, 399, 400, 401, 560, 719, 16_000, 16_159, PIECE, PIECE + 159, PIECE + 160, PIECE + 361, 3 * PIECE - 1],
)
def test_frames_are_those_of_the_reference(samples: int) -> None:
    sound = 0.1 * np.random.default_rng(samples).standard_normal(samples, dtype=np.float32)
    expected = mel.log_mel(sound)
    frames = log_mel(sound, 128)
    assert frames.shape == expected.shape
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-6)


def test_a_clip_of_one_piece_is_the_reference_to_the_bit() -> None:
    sound = np.random.default_rng(0).standard_normal(100_000, dtype=np.float32)
    assert torch.equal(log_mel(sound, 80), mel.log_mel(sound, 80))


def test_the_loudest_moment_sets_the_floor_of_all_pieces() -> None:
    sound = np.zeros(2 * PIECE, dtype=np.float32)
    sound[-16_000:] = np.random.default_rng(0).standard_normal(16_000)
    frames = log_mel(sound, 128)
    assert float(frames[:, 0].min()) == float(frames.max()) - 2.0


def test_silence_is_no_division_by_zero_and_nothing_is_no_clip() -> None:
    assert log_mel(np.zeros(4_000, dtype=np.float32), 128).isfinite().all()
    with pytest.raises(ValueError, match="without samples"):
        log_mel(np.zeros(0, dtype=np.float32), 128)
