"""Text enters an ARIA stream in whole chunks, as soon as they are known, followed by tts_eos."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.models.aria.chunk_rule import Chunk, chunks
from antiphon_executor.models.aria.text_chunker import TextChunker

TTS_EOS, IM_START, VOCABULARY = 9, 10, 100
WORDS = st.integers(20, VOCABULARY - 1)
PIECES = st.lists(st.lists(WORDS, max_size=6), max_size=8)


def make_text() -> TextChunker:
    return TextChunker(4, TTS_EOS, VOCABULARY, controls=(IM_START,))


async def heard(pieces: Sequence[Sequence[int]]) -> list[Chunk]:
    """What leaves while the pieces come one by one, the last of them final."""
    text = make_text()

    async def add_pieces() -> None:
        for number, piece in enumerate(pieces, start=1):
            text.add_tokens(piece, final=number == len(pieces))
            await asyncio.sleep(0)

    adding = asyncio.create_task(add_pieces())
    async with asyncio.timeout(60):
        left = [chunk async for chunk in text.chunks()]
    await adding
    assert text.entered == sum(len(chunk.text) for chunk in left) - len(left[-1:])
    return left


@given(PIECES)
def test_given_text_in_any_pieces_then_its_chunks_are_those_of_the_whole(pieces: list[list[int]]) -> None:
    whole = [token for piece in pieces for token in piece]
    left = asyncio.run(heard([*pieces, []]))
    assert left == (chunks(whole, TTS_EOS, 4) if whole else [])


@pytest.mark.parametrize("pieces", [[[]], [[], []], [[TTS_EOS]], [[IM_START, VOCABULARY, -1], []]])
def test_given_an_answer_without_text_then_nothing_enters(pieces: list[list[int]]) -> None:
    assert asyncio.run(heard(pieces)) == []


def test_given_control_tokens_in_the_text_then_they_do_not_enter_and_end_nothing() -> None:
    assert asyncio.run(heard([[20, TTS_EOS, 21], [IM_START], [22, VOCABULARY + 5], []])) == [
        Chunk((20, 21, 22, TTS_EOS), last=True)
    ]


def test_given_control_tokens_in_the_text_then_they_are_counted_with_what_enters_around_them() -> None:
    """Dropped tokens count too, because positions refer to the text that clients see."""
    text = make_text()
    text.add_tokens([IM_START, 20, TTS_EOS, 21], final=False)
    text.add_tokens([22, 23, VOCABULARY + 5, 24], final=True)
    assert [text.tokens_up_to(entered) for entered in range(6)] == [0, 2, 4, 5, 6, 8]


async def test_given_four_tokens_then_they_leave_before_a_fifth_is_known() -> None:
    text = make_text()
    leaving = text.chunks()
    text.add_tokens([20, 21, 22, 23], final=False)
    async with asyncio.timeout(60):
        assert await anext(leaving) == Chunk((20, 21, 22, 23), last=False)
    following = asyncio.ensure_future(anext(leaving))
    await asyncio.sleep(0.01)
    assert not following.done()
    text.add_tokens([], final=True)
    assert await following == Chunk((TTS_EOS,), last=True)


@pytest.mark.parametrize("final", [False, True])
async def test_given_a_closed_stream_then_nothing_leaves_not_even_its_end(final: bool) -> None:
    """An end would be one more message to an engine that has just aborted the session."""
    text = make_text()
    text.add_tokens([20, 21, 22, 23, 24], final=final)
    text.close()
    waiting = asyncio.ensure_future(anext(text.chunks()))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
