"""Where a text to read aloud is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.speech.text_pieces import WHOLE_SENTENCE, cut_text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two.", ["One. Two."]),
        ("One is one. Two is two.", ["One is one.", "Two is two."]),
        # Not longer than twice the limit: whole.
        ("A long, long sentence here. Next.", ["A long, long sentence here.", "Next."]),
        ("A last one, without its full stop", ["A last one,", "without its full stop"]),
        ("A last one, without a stop", ["A last one, without a stop"]),
        (
            "Words longer than twice the limit, so. End.",
            ["Words longer", "than twice the limit, so.", "End."],
        ),
        ("Averylongwordwithoutanyspaceatallinit", ["Averylongwordwi", "thoutanyspaceatallinit"]),
        ("  \n ", []),
    ],
)
def test_pieces_end_with_sentences(text: str, pieces: list[str]) -> None:
    assert [piece.text for piece in cut_text(text, 15)] == pieces


@given(st.text("ab ,.!\n", max_size=120), st.integers(1, 30))
def test_nothing_is_lost_and_no_piece_is_longer_than_a_whole_sentence(text: str, most: int) -> None:
    pieces = cut_text(text, most)
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())
    assert all(text[piece.start :].startswith(piece.text) for piece in pieces)
    assert all(len(piece.text) <= WHOLE_SENTENCE * most for piece in pieces)
