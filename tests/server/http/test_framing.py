"""Counting the bytes that are not body, piece by piece; `test_connection.py` tests it with the parser."""

from __future__ import annotations

import pytest

from antiphon_server.errors import ApiError
from antiphon_server.http.framing import Framing

LIMIT = 100


@pytest.fixture
def framing() -> Framing:
    return Framing(LIMIT)


def receive(framing: Framing, size: int, body: int = 0) -> None:
    framing.count_piece(size)
    framing.count_body(body)
    framing.check_limit()


def test_a_head_may_be_as_long_as_the_limit_in_any_pieces(framing: Framing) -> None:
    for _ in range(4):
        receive(framing, LIMIT // 4)
    with pytest.raises(ApiError, match="head is too large") as refused:
        receive(framing, 1)
    assert (refused.value.status, refused.value.code) == (431, "headers_too_large")


def test_the_piece_in_which_a_head_ends_counts_neither_before_nor_after(framing: Framing) -> None:
    receive(framing, LIMIT)
    framing.count_piece(50 * LIMIT)
    framing.start_body()
    framing.count_body(10)
    framing.check_limit()
    receive(framing, LIMIT + 10)
    with pytest.raises(ApiError, match="chunks are too small"):
        receive(framing, 1)


def test_a_body_may_have_a_byte_of_framing_for_each_of_its_own(framing: Framing) -> None:
    framing.start_body()
    receive(framing, LIMIT)
    for _ in range(1000):
        receive(framing, 2, body=1)
    with pytest.raises(ApiError, match="chunks are too small") as refused:
        receive(framing, 1)
    assert (refused.value.status, refused.value.code) == (400, "chunk_framing_too_large")


def test_a_body_without_framing_has_no_limit_here(framing: Framing) -> None:
    framing.start_body()
    for _ in range(100):
        receive(framing, 10 * LIMIT, body=10 * LIMIT)
    receive(framing, 101 * 10 * LIMIT, body=1000)


def test_trailers_have_the_limit_of_a_head(framing: Framing) -> None:
    framing.start_body()
    framing.count_trailer(LIMIT)
    with pytest.raises(ApiError, match="trailers") as refused:
        framing.count_trailer(1)
    assert (refused.value.status, refused.value.code) == (431, "trailers_too_large")


def test_each_message_of_a_connection_begins_anew(framing: Framing) -> None:
    for _ in range(3):
        assert not framing.in_body
        receive(framing, LIMIT)
        framing.start_body()
        assert framing.in_body
        framing.count_trailer(LIMIT)
        receive(framing, LIMIT)
        framing.end_message()
    receive(framing, LIMIT)
    with pytest.raises(ApiError, match="head"):
        receive(framing, 1)
