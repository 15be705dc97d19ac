"""A session's inputs lay out an ARIA stream row by row, and never ask for too many frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.aria.chunk_rule import Kind, chunks, stream_order
from antiphon_executor.models.aria.order import UNKNOWN, AriaOrder
from antiphon_executor.models.aria.session_inputs import AriaSessionInputs, ChunkSize, SessionInput
from antiphon_executor.models.aria.vocabulary import AriaKind, AriaVocabulary

VOCABULARY = AriaVocabulary(codec=16, text=100, slots=3, embedding_rows=8)
PROMPT = [116, 30, 31, 5]
TTS_EOS = 9
SIZE = ChunkSize(4, 4)


def inputs_of(text_ids: list[int], *, max_frames: int, max_tokens: int = 10_000) -> list[SessionInput]:
    stream = AriaSessionInputs(list(PROMPT), VOCABULARY, SIZE, max_frames=max_frames, max_tokens=max_tokens)
    made = []
    for chunk in chunks(text_ids, TTS_EOS, SIZE.text):
        if stream.full or (entering := stream.add(chunk)) is None:
            break
        made.append(entering)
    return made


def test_a_prompt_that_is_computed_first_gives_the_same_rows_less_the_token_after_it() -> None:
    words = [20, 21, 22, 23, 24]
    whole, *rest = inputs_of(words, max_frames=50, max_tokens=100)
    stream = AriaSessionInputs(list(PROMPT), VOCABULARY, SIZE, max_frames=50, max_tokens=100)
    apart = [stream.prompt(), *filter(None, map(stream.add, chunks(words, TTS_EOS, SIZE.text)))]
    rows: list[int] = []
    for entering in apart:
        rows = rows[:-1] + entering.token_ids + [0] * entering.frames
    assert apart[0] == SessionInput(PROMPT, 1)
    assert rows[: len(whole.token_ids)] == whole.token_ids
    assert apart[2:] == rest
    assert [entering.frames for entering in apart[1:]] == [4, 46]


@given(st.integers(1, 30), st.integers(1, 60))
def test_given_any_text_and_limit_then_the_rows_stand_as_the_chunk_rule_has_them(
    words: int, max_frames: int
) -> None:
    """The engine's sequence: what it was sent, with a token a frame, less the one that it always forgets."""
    made = inputs_of(list(range(20, 20 + words)), max_frames=max_frames)
    rows: list[int] = []
    for entering in made:
        rows = rows[:-1] + entering.token_ids + [0] * entering.frames
    assert rows[: len(PROMPT)] == PROMPT
    frames = sum(entering.frames for entering in made)
    assert frames == max_frames
    behind = rows[len(PROMPT) :]
    texts = [row - VOCABULARY.text_base for row in behind if row >= VOCABULARY.text_base]
    assert texts == [*range(20, 20 + words), TTS_EOS][: len(texts)]
    order = stream_order(len(texts), frames, SIZE.text, SIZE.frames)
    assert [row.kind is Kind.TEXT for row in order] == [row >= VOCABULARY.text_base for row in behind]
    ended = len(texts) == words + 1
    total = np.int64(len(texts) if ended else UNKNOWN)
    places = np.arange(len(behind))
    assert AriaOrder(SIZE.text, SIZE.frames).is_text(places, total).tolist() == [
        row >= VOCABULARY.text_base for row in behind
    ]


def test_given_four_words_and_a_fifth_then_each_input_says_how_many_frames_may_follow() -> None:
    made = inputs_of([20, 21, 22, 23, 24], max_frames=50)
    text = [VOCABULARY.encode(AriaKind.TEXT, token) for token in (20, 21, 22, 23, 24, TTS_EOS)]
    assert made == [
        SessionInput(PROMPT + text[:4], 4),
        SessionInput([VOCABULARY.last_frame, *text[4:]], 46),
    ]


@given(st.integers(9, 60), st.integers(1, 30))
def test_given_a_short_context_then_the_stream_ends_where_it_is_full(max_tokens: int, words: int) -> None:
    made = inputs_of(list(range(20, 20 + words)), max_frames=10_000, max_tokens=max_tokens)
    assert made
    assert all(entering.frames >= 1 for entering in made)
    text = sum(len(entering.token_ids) for entering in made) - len(PROMPT) - (len(made) - 1)
    frames = sum(entering.frames for entering in made)
    rows = len(PROMPT) + text + frames
    assert rows <= max_tokens
    if text == words + 1:
        assert rows == max_tokens
    else:
        assert rows + SIZE.text >= max_tokens


def test_given_a_prompt_that_fills_the_context_then_the_turn_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="4 tokens of the 8"):
        AriaSessionInputs(list(PROMPT), VOCABULARY, SIZE, max_frames=4, max_tokens=8)


@pytest.mark.parametrize(("frame", "text"), [(1, 4), (4, 4), (5, 8), (8, 8), (9, 12)])
def test_given_a_frame_then_the_text_before_it_is_its_chunks(frame: int, text: int) -> None:
    assert SIZE.text_before(frame) == text
