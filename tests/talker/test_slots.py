"""A slot holds one stream's state, and is empty afterwards."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import NewStream, SlotPool, SlotShape

SHAPE = SlotShape(slots=4, max_frames=6, code_groups=3, codec_vocab=16, hidden=4, embedding_rows=64)


class Vocoder:
    """Remembers which slots were reset."""

    def __init__(self) -> None:
        self.resets: list[int] = []

    def reset(self, slots: torch.Tensor) -> None:
        self.resets += slots.tolist()


@pytest.fixture
def vocoder() -> Vocoder:
    return Vocoder()


@pytest.fixture
def pool(vocoder: Vocoder) -> SlotPool:
    return SlotPool(SHAPE, dtype=torch.float32, device=torch.device("cpu"), reset_vocoder=vocoder.reset)


def new_stream(stream: int = 9, slot: int = 1, rows: int = 2) -> NewStream:
    given = torch.arange(rows * SHAPE.hidden, dtype=torch.float32).reshape(rows, SHAPE.hidden)
    return NewStream(stream, slot, 5, StreamSampling(seed=3), given)


def test_given_rows_then_they_are_found_by_slot_and_index(pool: SlotPool) -> None:
    pool.open(new_stream())
    rows = pool.prompt_embeddings.gather(torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert rows.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert pool.prompt_len[1] == 5
    assert pool.slot_of(9) == 1


def test_given_no_rows_then_the_stream_opens_all_the_same(pool: SlotPool) -> None:
    pool.open(new_stream(rows=0))
    assert pool.used == 1
    assert pool.prompt_embeddings.free_rows == SHAPE.embedding_rows


def test_given_a_slot_in_use_then_it_cannot_be_opened_again(pool: SlotPool) -> None:
    pool.open(new_stream())
    with pytest.raises(ValueError, match="slot 1"):
        pool.open(new_stream(stream=10))
    with pytest.raises(ValueError, match="slot 0"):
        pool.open(new_stream(stream=11, slot=0))


def test_given_a_closed_slot_then_nothing_of_the_stream_is_left(pool: SlotPool, vocoder: Vocoder) -> None:
    pool.open(new_stream())
    pool.history[1] = 3
    pool.frames[1] = 4
    pool.seen[1, 2] = True
    pool.ended[1] = True
    vocoder.resets.clear()
    assert pool.close(1)
    assert vocoder.resets == [1]
    assert pool.used == 0
    assert pool.slot_of(9) is None
    for tensor in (pool.history, pool.frames, pool.seen, pool.ended, pool.prompt_len):
        assert tensor[1].sum() == 0
    assert pool.stream[1] == -1
    assert pool.prompt_embeddings.free_rows == SHAPE.embedding_rows
    assert not pool.close(1)


def test_rows_travel_as_bytes_and_arrive_in_the_pools_dtype(pool: SlotPool) -> None:
    rows = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    packed = rows.to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    assert torch.equal(pool.rows_of(packed, "bfloat16", 3), rows)
    assert pool.rows_of(b"", "float32", 3).shape == (0, 3)
