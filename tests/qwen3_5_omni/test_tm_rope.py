"""Positions read off an expanded prompt are those that its expansion gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.models.qwen3_5_omni.presets import published
from antiphon_executor.models.qwen3_5_omni.prompt import Medium, Picture, PromptRules, Sound, Video
from antiphon_executor.models.qwen3_5_omni.tm_rope import MediaSpan, TmRope

THINKER = published().thinker_config
RULES = PromptRules(THINKER, lambda text: [ord(character) for character in text])
ROPE = TmRope(THINKER)
A_START, A_END = THINKER.audio_start_token_id, THINKER.audio_end_token_id
V_START, V_END = THINKER.vision_start_token_id, THINKER.vision_end_token_id

grids = st.tuples(st.integers(1, 5), st.integers(1, 5))
media = st.one_of(
    st.builds(Sound, st.integers(1, 14_000)),
    st.builds(Picture, grids),
    st.builds(Video, st.integers(1, 9), st.sampled_from((0.5, 1.0, 2.0, 3.7)), grids, st.integers(0, 900)),
)


def enclosed(medium: Medium) -> list[int]:
    """A medium's placeholder in the template."""
    if isinstance(medium, Sound):
        return [A_START, THINKER.audio_token_id, A_END]
    token = THINKER.image_token_id if isinstance(medium, Picture) else THINKER.video_token_id
    return [V_START, token, V_END]


def span_of(medium: Medium, start: int) -> tuple[MediaSpan, int]:
    """The positions of the medium if its first mark is at `start`, and its length including marks."""
    length = len(RULES.expand(enclosed(medium), [medium]).token_ids)
    if isinstance(medium, Video):
        return MediaSpan(start, length, medium.grid), length
    grid = medium.grid if isinstance(medium, Picture) else (0, 0)
    return MediaSpan(start + 1, length - 2, grid), length


@given(st.lists(st.one_of(media, st.integers(0, 6)), max_size=6))
def test_of_any_media_between_any_texts(parts: list[Medium | int]) -> None:
    """A whole number stands for that many text tokens."""
    template: list[int] = []
    spans, index = [], 0
    for part in parts:
        if isinstance(part, int):
            template += [9] * part
            index += part
        else:
            template += enclosed(part)
            span, length = span_of(part, index)
            spans.append(span)
            index += length
    expanded = RULES.expand(template, [part for part in parts if not isinstance(part, int)])
    np.testing.assert_array_equal(ROPE.positions(expanded.token_ids, spans), expanded.positions)


def test_a_placeholder_that_nobody_expanded_is_text() -> None:
    ids = np.array([9, THINKER.audio_token_id, THINKER.audio_token_id, 9])
    assert ROPE.positions(ids, []).tolist() == [[0, 1, 2, 3]] * 3


def test_spans_that_do_not_fit_are_refused() -> None:
    ids = np.array([THINKER.image_token_id] * 4)
    with pytest.raises(ValueError, match="media at 0"):
        ROPE.positions(ids, [MediaSpan(0, 4, (2, 3))])


def test_ten_hours_of_sound_take_no_time() -> None:
    ids = np.full(252_000, THINKER.audio_token_id)
    positions = ROPE.positions(ids, [MediaSpan(0, len(ids))])
    assert positions.max() == 36_000 * 6.25 - 1
