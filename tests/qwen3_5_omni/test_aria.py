"""ARIA's chunk rule: four text tokens, four frames, and no end before the text has ended."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from antiphon_executor.models.aria.chunk_rule import Kind, chunks, stream_order

TTS_EOS = 99
TEXTS = st.lists(st.integers(0, 9), max_size=30)


@given(TEXTS)
def test_chunks_hold_the_text_in_order_and_tts_eos_once_at_the_end(text: list[int]) -> None:
    pieces = chunks(text, TTS_EOS, 4)
    assert [token for piece in pieces for token in piece.text] == [*text, TTS_EOS]
    assert all(len(piece.text) == 4 for piece in pieces[:-1])
    assert 1 <= len(pieces[-1].text) <= 4
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@given(TEXTS)
def test_a_chunk_is_known_as_soon_as_its_own_tokens_are(text: list[int]) -> None:
    for more in ([], [1], [1, 2, 3, 4]):
        complete = len(text) // 4
        assert chunks([*text, *more], TTS_EOS, 4)[:complete] == chunks(text, TTS_EOS, 4)[:complete]


@given(st.integers(1, 30), st.integers(0, 60), st.integers(1, 5), st.integers(1, 5))
def test_frames_follow_their_chunk_and_all_others_the_last(
    text: int, frames: int, text_size: int, frame_size: int
) -> None:
    full = (text - 1) // text_size
    assume(frames >= full * frame_size)
    order = stream_order(text, frames, text_size, frame_size)
    for kind, length in ((Kind.TEXT, text), (Kind.FRAME, frames)):
        assert [row.index for row in order if row.kind is kind] == list(range(length))
    told = "".join(row.kind.name[0] for row in order)
    chunk = "T" * text_size + "F" * frame_size
    assert told == chunk * full + "T" * (text - full * text_size) + "F" * (frames - full * frame_size)


def test_speech_that_ends_before_its_text_is_no_stream() -> None:
    with pytest.raises(ValueError, match="7 frames end before 9 text tokens"):
        stream_order(9, 7, 4, 4)
