"""The offset in an ARIA stream says which row is there, as the complete stream has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.models.aria.chunk_rule import Kind, stream_order
from antiphon_executor.models.aria.order import UNKNOWN, AriaOrder

SIZES = st.integers(1, 5)


@given(st.integers(1, 30), st.integers(0, 30), SIZES, SIZES)
def test_every_place_holds_what_the_order_of_the_finished_stream_says(
    text: int, more: int, text_size: int, frame_size: int
) -> None:
    frames = (text - 1) // text_size * frame_size + more
    rows = stream_order(text, frames, text_size, frame_size)
    places, total = np.arange(len(rows)), np.full(len(rows), text)
    order = AriaOrder(text_size, frame_size)
    is_text = [row.kind is Kind.TEXT for row in rows]
    assert order.is_text(places, total).tolist() == is_text
    index = np.where(is_text, order.text_before(places, total), order.frame_at(places, total))
    assert index.tolist() == [row.index for row in rows]


@given(st.integers(1, 30), SIZES, SIZES)
def test_until_the_last_token_of_text_nothing_depends_on_how_many_there_are(
    text: int, text_size: int, frame_size: int
) -> None:
    order = AriaOrder(text_size, frame_size)
    last = (text - 1) // text_size * (text_size + frame_size) + (text - 1) % text_size
    places = np.arange(last + 1)
    known, unknown = np.full(len(places), text), np.full(len(places), UNKNOWN)
    assert order.is_text(places, known).tolist() == order.is_text(places, unknown).tolist()
    assert order.frame_at(places, known).tolist() == order.frame_at(places, unknown).tolist()
    assert order.text_before(places, unknown)[-1] == text - 1


def test_the_prompt_has_neither_text_nor_frames_of_the_answer() -> None:
    order, places = AriaOrder(4, 4), torch.arange(-5, 0)
    total = torch.full((5,), UNKNOWN)
    assert not order.is_text(places, total).any()
    assert (order.text_before(places, total) == 0).all()


@pytest.mark.parametrize("total", [3, UNKNOWN])
def test_tensors_and_arrays_agree(total: int) -> None:
    order, places = AriaOrder(4, 3), np.arange(40)
    totals = np.full(40, total)
    tensor = order.frame_at(torch.as_tensor(places), torch.as_tensor(totals))
    assert tensor.tolist() == order.frame_at(places, totals).tolist()
