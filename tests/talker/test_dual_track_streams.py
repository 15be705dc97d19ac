"""A stream with a text track waits for its text, and says when its next frame may be computed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
import torch

from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import SlotPool, StreamStart
from antiphon_executor.models.talker.step_rows import StepRows
from tests.talker.test_slots import SHAPE

TTS_PAD = 77
THINKER_HIDDEN = 5


@pytest.fixture
def streams() -> DualTrackStreams:
    return streams_of(lambda rows: rows[:, : SHAPE.hidden] * 2)


def streams_of(project_media: Callable[[torch.Tensor], torch.Tensor]) -> DualTrackStreams:
    pool = SlotPool(SHAPE, dtype=torch.float32, device=torch.device("cpu"), reset_vocoder=lambda slots: None)
    return DualTrackStreams(
        pool,
        tts_pad=TTS_PAD,
        thinker_hidden=THINKER_HIDDEN,
        project_media=project_media,
    )


def start(
    stream: int = 9, slot: int = 1, text: tuple[int, ...] = (5,), final: bool = False, rows: int = 2
) -> bytes:
    media = torch.arange(rows * THINKER_HIDDEN, dtype=torch.float32)
    return msgspec.msgpack.encode(
        StreamStart(
            stream=stream,
            slot=slot,
            positions=np.arange(15, dtype=np.int32).reshape(3, 5).tobytes(),
            position_delta=-2,
            hidden_states=media.numpy().tobytes(),
            hidden_states_dtype="float32",
            text_ids=list(text),
            text_final=final,
            sampling=StreamSampling(seed=3),
        )
    )


def test_given_one_token_of_text_then_only_the_first_frame_is_ready(streams: DualTrackStreams) -> None:
    streams.open(start(text=(5,)))
    assert [streams.is_ready(1, frame) for frame in range(3)] == [True, False, False]


def test_given_more_text_then_more_frames_are_ready(streams: DualTrackStreams) -> None:
    streams.open(start(text=(5,)))
    streams.append_text(9, [6, 7], final=False)
    streams.write_text()
    assert [streams.is_ready(1, frame) for frame in range(4)] == [True, True, True, False]
    assert streams.track[1].tolist() == [5, 6, 7] + [TTS_PAD] * 4


def test_given_the_end_of_the_text_then_every_frame_is_ready_and_reads_padding(
    streams: DualTrackStreams,
) -> None:
    streams.open(start(text=(5,), final=True))
    assert streams.is_ready(1, SHAPE.max_frames)
    assert streams.track[1, 1:].eq(TTS_PAD).all()


def test_given_text_beyond_the_longest_stream_then_it_is_cut_off(streams: DualTrackStreams) -> None:
    streams.open(start(text=()))
    streams.append_text(9, list(range(20)), final=False)
    streams.write_text()
    assert streams.track[1].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_given_text_of_several_streams_then_one_write_places_it(streams: DualTrackStreams) -> None:
    streams.open(start(stream=9, slot=1))
    streams.open(start(stream=8, slot=2, rows=0))
    streams.append_text(9, [6], final=False)
    streams.append_text(8, [3, 4], final=False)
    streams.append_text(9, [7], final=True)
    assert streams.track[1:3, 1].tolist() == [TTS_PAD, TTS_PAD]
    streams.write_text()
    assert streams.track[1, :4].tolist() == [5, 6, 7, TTS_PAD]
    assert streams.track[2, :4].tolist() == [5, 3, 4, TTS_PAD]


def test_given_a_stream_that_closes_before_its_text_is_written_then_the_next_one_does_not_get_it(
    streams: DualTrackStreams,
) -> None:
    streams.open(start(stream=9))
    streams.append_text(9, [6, 7], final=False)
    streams.close(1)
    streams.open(start(stream=10))
    streams.write_text()
    assert streams.track[1].tolist() == [5] + [TTS_PAD] * 6


def test_given_an_id_that_does_not_fit_then_nothing_of_that_text_is_written(
    streams: DualTrackStreams,
) -> None:
    streams.open(start())
    with pytest.raises(OverflowError):
        streams.append_text(9, [6, 1 << 63], final=False)
    streams.write_text()
    assert streams.track[1].tolist() == [5] + [TTS_PAD] * 6


def test_given_media_rows_then_they_are_projected_once(streams: DualTrackStreams) -> None:
    streams.open(start())
    rows = streams.pool.prompt_embeddings.gather(torch.tensor([1, 1]), torch.tensor([0, 1]))
    assert rows.tolist() == [[0, 2, 4, 6], [10, 12, 14, 16]]


def test_given_weights_that_could_be_trained_then_the_arena_keeps_rows_and_not_how_they_were_made() -> None:
    """An autograd graph would keep the prompt embeddings of every stream that was ever open."""
    projection = torch.nn.Linear(THINKER_HIDDEN, SHAPE.hidden)
    assert projection.weight.requires_grad
    streams = streams_of(projection)
    for _ in range(2):
        streams.open(start())
        assert not streams.pool.prompt_embeddings.gather(torch.tensor([1]), torch.tensor([0])).requires_grad
        streams.close(1)


def test_given_positions_then_they_come_back_as_they_were_sent(streams: DualTrackStreams) -> None:
    streams.open(start())
    placed = streams.positions(1)
    assert placed is not None
    positions, delta = placed
    assert positions.tolist() == np.arange(15).reshape(3, 5).tolist()
    assert delta == -2
    assert streams.pool.prompt_len[1] == 5


def test_given_no_open_stream_then_there_are_no_positions(streams: DualTrackStreams) -> None:
    assert streams.positions(1) is None
    streams.open(start())
    streams.close(1)
    assert streams.positions(1) is None


def test_given_a_prompt_of_five_then_its_last_row_draws_the_first_frame(streams: DualTrackStreams) -> None:
    streams.open(start())
    one = torch.tensor([1, 1, 1])
    draws = streams.draws(StepRows(one, torch.tensor([3, 5, 8]), one, one))
    assert draws.frame.tolist() == [-2, 0, 3]
    assert draws.may_end.all()
    assert not draws.restarts.any()


def test_given_a_closed_stream_then_no_text_of_it_is_left(streams: DualTrackStreams) -> None:
    streams.open(start())
    streams.close(1)
    assert not streams.is_open(9)
    assert not streams.is_ready(1, 0)
    assert streams.track[1].eq(TTS_PAD).all()
    streams.close(1)
    streams.open(start(stream=10))
    assert streams.is_open(10)
