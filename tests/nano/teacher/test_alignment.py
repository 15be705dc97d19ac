"""Alignment: every token begins on a frame, no phoneme is lost, a stretched voice has the same frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_nano.teacher.alignment import (
    LEAD_FRAMES,
    TAIL_FRAMES,
    UNITS_PER_FRAME,
    snap_to_frames,
    tokens_of,
)
from antiphon_nano.teacher.shard import FRAME_SAMPLES
from antiphon_nano.teacher.trim import QUIET_FRAMES, clipped_starts, kept_frames

_WORDS = st.lists(st.text("abcdeˈ", min_size=1, max_size=8), min_size=1, max_size=8)


@st.composite
def sentences(draw: st.DrawFn) -> tuple[str, list[int]]:
    parts = [word + draw(st.sampled_from(("", "", ","))) for word in draw(_WORDS)]
    phonemes = " ".join(parts) + "."
    count = len(phonemes) + 2
    return phonemes, draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))


def test_words_keep_the_space_after_them_and_marks_are_tokens() -> None:
    phonemes = "aj sˈi, ænd."
    parts = ["".join(phonemes[place] for place in token) for token in tokens_of(phonemes)]
    assert parts == ["aj ", "sˈi", ", ", "ænd", "."]


@given(sentences())
def test_every_token_begins_on_a_frame_after_the_one_before(case: tuple[str, list[int]]) -> None:
    phonemes, natural = case
    snapped = snap_to_frames(phonemes, natural)
    tokens = tokens_of(phonemes)
    assert len(snapped.starts) == len(tokens)
    for start, token in zip(snapped.starts, tokens, strict=True):
        assert sum(snapped.durations[: token[0] + 1]) == round(start * UNITS_PER_FRAME)
    assert snapped.starts[0] == LEAD_FRAMES
    assert list(snapped.starts) == sorted(set(snapped.starts))


@given(sentences(), st.sampled_from((UNITS_PER_FRAME, UNITS_PER_FRAME * 5 / 6)))
def test_the_durations_fill_the_frames_and_no_phoneme_is_lost(
    case: tuple[str, list[int]], units_per_frame: float
) -> None:
    phonemes, natural = case
    snapped = snap_to_frames(phonemes, natural, units_per_frame)
    assert sum(snapped.durations) == round(snapped.frames * units_per_frame)
    assert min(snapped.durations) >= 1
    assert snapped.frames >= snapped.starts[-1] + 1 + TAIL_FRAMES


def test_a_stretched_voice_has_the_same_frames() -> None:
    phonemes, natural = "ðə ˈænsəɹ ɪz sˈɛvən.", [4, *(2, 3, 1) * 7, 3]
    natural = natural[: len(phonemes) + 2]
    assert (
        snap_to_frames(phonemes, natural).starts
        == snap_to_frames(phonemes, natural, UNITS_PER_FRAME * 5 / 6).starts
    )


def test_the_length_of_a_word_changes_by_less_than_a_frame() -> None:
    phonemes, natural = "abcde fgh.", [4, 3, 4, 3, 4, 3, 2, 3, 3, 3, 6, 4]
    snapped = snap_to_frames(phonemes, natural)
    for token, start, end in zip(tokens_of(phonemes), snapped.starts, snapped.starts[1:], strict=False):
        before = sum(natural[place + 1] for place in token)
        assert abs((end - start) * UNITS_PER_FRAME - before) < UNITS_PER_FRAME


def test_durations_that_do_not_fit_the_phonemes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 durations for 2 phonemes"):
        snap_to_frames("ab", [1, 2, 3])


@pytest.mark.parametrize(
    ("loud", "frames", "kept"), [(5, 20, 5 + QUIET_FRAMES), (5, 6, 6), (0, 4, QUIET_FRAMES)]
)
def test_trailing_silence_is_shortened(loud: int, frames: int, kept: int) -> None:
    sound = np.zeros(frames * FRAME_SAMPLES, np.float32)
    sound[: loud * FRAME_SAMPLES] = 0.1 * np.sin(np.arange(loud * FRAME_SAMPLES) * 0.1)
    sound[loud * FRAME_SAMPLES :] += 1e-4
    assert kept_frames(sound) == kept


def test_silence_inside_speech_stays() -> None:
    sound = np.zeros(12 * FRAME_SAMPLES, np.float32)
    sound[-100:] = 0.5
    assert kept_frames(sound) == 12


def test_a_mark_in_the_removed_silence_moves_to_the_end() -> None:
    assert clipped_starts([1, 4, 9, 15], 12) == [1, 4, 9, 10]
