"""A slot holds one stream's state, says when its next frame may be computed, and then forgets it all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from antiphon_executor.talker.sampling import StreamSampling
from antiphon_executor.talker.slots import SlotPool, SlotShape, StreamStart

TTS_PAD = 77
SHAPE = SlotShape(
    slots=4,
    max_frames=6,
    code_groups=3,
    codec_vocab=16,
    hidden=4,
    thinker_hidden=5,
    media_rows=64,
    tts_pad=TTS_PAD,
)


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
    return SlotPool(
        SHAPE,
        dtype=torch.float32,
        device=torch.device("cpu"),
        project_media=lambda rows: rows[:, : SHAPE.hidden] * 2,
        reset_vocoder=vocoder.reset,
    )


def start(stream: int = 9, slot: int = 1, text: list[int] | None = None, final: bool = False) -> StreamStart:
    media = torch.arange(10, dtype=torch.float32).reshape(2, SHAPE.thinker_hidden)
    return StreamStart(
        stream=stream,
        slot=slot,
        positions=np.arange(15, dtype=np.int32).reshape(3, 5).tobytes(),
        position_delta=-2,
        media_rows=media.numpy().tobytes(),
        media_dtype="float32",
        text_ids=[5] if text is None else text,
        text_final=final,
        sampling=StreamSampling(seed=3),
    )


def test_given_one_token_of_text_then_only_the_first_frame_is_ready(pool: SlotPool) -> None:
    pool.open(start(text=[5]))
    assert [pool.ready(1, frame) for frame in range(3)] == [True, False, False]


def test_given_more_text_then_more_frames_are_ready(pool: SlotPool) -> None:
    pool.open(start(text=[5]))
    pool.append_text(9, [6, 7], final=False)
    assert [pool.ready(1, frame) for frame in range(4)] == [True, True, True, False]
    assert pool.track[1].tolist() == [5, 6, 7] + [TTS_PAD] * 4


def test_given_the_end_of_the_text_then_every_frame_is_ready_and_reads_padding(pool: SlotPool) -> None:
    pool.open(start(text=[5], final=True))
    assert pool.ready(1, SHAPE.max_frames)
    assert pool.track[1, 1:].eq(TTS_PAD).all()


def test_given_text_beyond_the_longest_stream_then_it_is_cut_off(pool: SlotPool) -> None:
    pool.open(start(text=[]))
    pool.append_text(9, list(range(20)), final=False)
    assert pool.track[1].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_given_media_rows_then_they_are_projected_once(pool: SlotPool) -> None:
    pool.open(start())
    rows = pool.media.gather(torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert rows.tolist() == [[0, 2, 4, 6], [10, 12, 14, 16]]


def test_given_positions_then_they_come_back_as_they_were_sent(pool: SlotPool) -> None:
    pool.open(start())
    positions, delta = pool.positions(1)
    assert positions.tolist() == np.arange(15).reshape(3, 5).tolist()
    assert delta == -2
    assert pool.prompt_len[1] == 5


def test_given_a_slot_in_use_then_it_cannot_be_opened_again(pool: SlotPool) -> None:
    pool.open(start())
    with pytest.raises(ValueError, match="slot 1"):
        pool.open(start(stream=10))
    with pytest.raises(ValueError, match="slot 0"):
        pool.open(start(stream=11, slot=0))


def test_given_a_closed_slot_then_nothing_of_the_stream_is_left(pool: SlotPool, vocoder: Vocoder) -> None:
    pool.open(start())
    pool.history[1] = 3
    pool.frames[1] = 4
    pool.seen[1, 2] = True
    pool.ended[1] = True
    vocoder.resets.clear()
    pool.close(1)
    assert vocoder.resets == [1]
    assert pool.used == 0
    assert not pool.is_open(9)
    assert not pool.ready(1, 0)
    for tensor in (pool.history, pool.frames, pool.seen, pool.ended, pool.prompt_len):
        assert tensor[1].sum() == 0
    assert pool.stream[1] == -1
    assert pool.media.free_rows == SHAPE.media_rows
    pool.close(1)
