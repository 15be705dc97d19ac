"""Sound of any length has an exact number of tokens, 7 a second."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ, AudioGeometry, mel_frames
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeAudioConfig
from antiphon_executor.reference.mel import log_mel

AUT = AudioGeometry.of(Qwen3_5OmniMoeAudioConfig())


@pytest.mark.parametrize(
    ("milliseconds", "tokens"),
    [
        *[(1, 1), (25, 1), (160, 1), (170, 2), (960, 6), (970, 7), (1_000, 7), (1_001, 7), (1_010, 8)],
        *[(2_500, 18), (60_000, 420), (3_600_000, 25_200), (36_000_000, 252_000)],
    ],
)
def test_lengths_have_the_published_number_of_tokens(milliseconds: int, tokens: int) -> None:
    assert AUT.tokens(mel_frames(milliseconds * SAMPLE_RATE_HZ // 1000)) == tokens


@given(st.integers(0, 10_000))
def test_the_count_is_what_four_halvings_leave_of_every_window(frames: int) -> None:
    counted = 0
    for start in range(0, frames, 100):
        left = min(100, frames - start)
        for _ in range(4):
            left = (left + 2 * 1 - 3) // 2 + 1  # kernel 3, stride 2, padding 1
        counted += left
    assert AUT.tokens(frames) == counted


@pytest.mark.parametrize("samples", [16, 159, 399, 400, 560, 1_600, 15_999, 16_000, 16_001, 40_123])
def test_the_feature_extractor_gives_as_many_frames_as_the_formula(samples: int) -> None:
    sound = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    mel = log_mel(sound)
    assert tuple(mel.shape) == (128, mel_frames(samples))
    assert mel.isfinite().all()


def test_an_empty_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="without samples"):
        mel_frames(0)


@given(st.integers(0, 100_000))
def test_a_token_is_found_by_the_time_at_which_it_begins(token: int) -> None:
    begins = AUT.start_ms(token)
    assert AUT.first_token(begins) == token
    assert AUT.first_token(begins + 1) == token + 1
    assert token == 0 or AUT.start_ms(token - 1) < begins
