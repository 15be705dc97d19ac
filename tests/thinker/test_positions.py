"""Positions of prompts with media, by the rules of TM-RoPE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import _get_feat_extract_output_lengths

from antiphon_executor.models.qwen3_omni.positions import (
    AudioSpan,
    SoundVideoSpan,
    VisionSpan,
    audio_tokens,
    merge_order,
    prompt_positions,
)


def test_text_alone_counts_from_zero() -> None:
    assert prompt_positions(4, []).tolist() == [[0, 1, 2, 3]] * 3


def test_text_goes_on_one_after_the_largest_position_of_a_picture() -> None:
    """Given two tokens of text, a picture of 2 x 3 and more text, then the picture takes three positions."""
    time, height, width = prompt_positions(10, [VisionSpan(2, (1, 2, 3), 13)]).tolist()
    assert time == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert height == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert width == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_a_video_at_four_frames_a_second_moves_six_and_a_half_a_grid() -> None:
    time, _, _ = prompt_positions(4, [VisionSpan(0, (2, 1, 1), 2 / 4 * 13)]).tolist()
    assert time == [0, 6.5, 7.5, 8.5]


def test_sound_and_video_are_merged_by_time_and_the_video_goes_first() -> None:
    assert merge_order((2, 1, 2), 2.0, 4).tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    time, _, width = prompt_positions(8, [SoundVideoSpan(0, (2, 1, 2), 2.0, 4)]).tolist()
    assert time == [0, 0, 0, 1, 2, 2, 2, 3]
    assert width == [0, 1, 0, 1, 0, 1, 2, 3]


def test_spans_may_come_in_any_order() -> None:
    spans = [AudioSpan(6, 2), VisionSpan(1, (1, 2, 2), 13)]
    np.testing.assert_array_equal(prompt_positions(9, spans), prompt_positions(9, spans[::-1]))


@pytest.mark.parametrize("spans", [[AudioSpan(3, 3)], [AudioSpan(0, 3), AudioSpan(2, 1)]])
def test_media_beyond_the_prompt_or_over_each_other_is_refused(spans: list[AudioSpan]) -> None:
    with pytest.raises(ValueError, match="overlaps"):
        prompt_positions(5, spans)


@given(st.integers(1, 400_000))
def test_audio_tokens_are_transformers(mel_frames: int) -> None:
    assert audio_tokens(mel_frames) == _get_feat_extract_output_lengths(mel_frames)
