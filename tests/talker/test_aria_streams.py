"""An ARIA stream knows which frame a row is and draws, and learns where its text ends."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import torch

from antiphon_executor.models.aria.chunk_rule import Kind, stream_order
from antiphon_executor.models.aria.order import UNKNOWN, AriaOrder
from antiphon_executor.models.aria.prompt import AriaStart
from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import SlotPool
from antiphon_executor.models.talker.step_rows import StepRows
from tests.talker.test_slots import SHAPE

PROMPT = 7
TEXT, END = 20, 21
CODE = 0


@pytest.fixture
def streams() -> AriaStreams:
    return streams_of(
        lambda voice, media: torch.cat((voice.sum(1, keepdim=True).expand(-1, 4), media[:, :4]))
    )


def streams_of(embed_prompt: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> AriaStreams:
    pool = SlotPool(SHAPE, dtype=torch.float32, device=torch.device("cpu"), reset_vocoder=lambda slots: None)
    return AriaStreams(
        pool,
        AriaOrder(4, 4),
        end_token=END,
        thinker_hidden=5,
        embed_prompt=embed_prompt,
    )


def start(slot: int = 1, frames: int = 2, media: int = 1) -> bytes:
    rows = torch.full((media, 5), 0.5)
    codes = torch.arange(frames * SHAPE.code_groups, dtype=torch.int16)
    return msgspec.msgpack.encode(
        AriaStart(
            stream=9,
            slot=slot,
            voice_codes=codes.numpy().tobytes(),
            hidden_states=rows.numpy().tobytes(),
            hidden_states_dtype="float32",
            prompt_tokens=PROMPT,
            sampling=StreamSampling(seed=3),
        )
    )


def step(slot: int, tokens: int, first: int) -> StepRows:
    """One request's step of `tokens` rows from place `first` behind the prompt."""
    request = torch.zeros(tokens, dtype=torch.int64)
    index = PROMPT + first + torch.arange(tokens)
    return StepRows(torch.tensor([slot]), index[-1:] + 1, request, index)


def test_given_rows_are_the_voices_frames_then_the_media(streams: AriaStreams) -> None:
    streams.open(start())
    rows = streams.pool.prompt_embeddings.gather(torch.tensor([1, 1, 1]), torch.tensor([0, 1, 2]))
    assert rows[:, 0].tolist() == [0 + 1 + 2, 3 + 4 + 5, 0.5]


def test_weights_that_could_be_trained_leave_the_arena_rows_and_not_how_they_were_made() -> None:
    """An autograd graph would keep the prompt embeddings of every stream that was ever open."""
    projection = torch.nn.Linear(5, SHAPE.hidden)
    assert projection.weight.requires_grad
    streams = streams_of(lambda voice, media: projection(media))
    for _ in range(2):
        streams.open(start())
        assert not streams.pool.prompt_embeddings.gather(torch.tensor([1]), torch.tensor([0])).requires_grad
        streams.close(1)


def test_a_voice_without_frames_and_a_prompt_without_media_give_nothing(streams: AriaStreams) -> None:
    streams.open(start(frames=0, media=0))
    assert streams.pool.prompt_embeddings.free_rows == SHAPE.embedding_rows


@pytest.mark.parametrize("text", range(1, 10))
def test_a_stream_row_by_row_draws_the_frames_of_its_order(streams: AriaStreams, text: int) -> None:
    streams.open(start())
    frames = (text - 1) // 4 * 4 + 3
    rows = stream_order(text, frames, 4, 4)
    last_text = max(place for place, row in enumerate(rows) if row.kind is Kind.TEXT)
    for place, row in enumerate(rows):
        is_text = row.kind is Kind.TEXT
        token = CODE if not is_text else END if place == last_text else TEXT
        here = step(1, 1, place)
        streams.enter(here, torch.tensor([token]))
        draws = streams.draws(here)
        behind = rows[place + 1] if place + 1 < len(rows) else None
        if behind is None:
            assert draws.frame.item() == frames
        else:
            assert draws.frame.item() == (-1 if behind.kind is Kind.TEXT else behind.index)
        if draws.frame.item() >= 0:
            assert draws.may_end.item() == (place >= last_text)
            assert draws.restarts.item() == is_text
        if not is_text:
            assert streams.frame_at(torch.tensor([1]), torch.tensor([place])).item() == row.index


def test_inside_the_prompt_nothing_is_drawn_and_no_text_ends(streams: AriaStreams) -> None:
    streams.open(start())
    here = step(1, PROMPT, -PROMPT)
    streams.enter(here, torch.full((PROMPT,), END))
    assert streams.total[1] == UNKNOWN
    assert streams.draws(here).frame.item() == -1


def test_a_preempted_stream_computed_in_one_step_draws_its_next_frame(streams: AriaStreams) -> None:
    streams.open(start())
    ids = [TEXT] * 4 + [CODE] * 4 + [TEXT, END] + [CODE] * 3
    here = step(1, len(ids), 0)
    streams.enter(here, torch.tensor(ids))
    assert streams.total[1] == 6
    draws = streams.draws(here)
    assert draws.frame.item() == 7
    assert draws.may_end.item()
    assert not draws.restarts.item()


def test_streams_in_one_step_do_not_see_each_others_end(streams: AriaStreams) -> None:
    streams.open(start(slot=1))
    other = msgspec.msgpack.decode(start(slot=2, frames=0, media=0), type=AriaStart)
    streams.open(msgspec.msgpack.encode(msgspec.structs.replace(other, stream=10)))
    both = StepRows(
        slot=torch.tensor([1, 2]),
        seq_len=torch.tensor([PROMPT + 2, PROMPT + 4]),
        token_request=torch.tensor([0, 1]),
        token_index=torch.tensor([PROMPT + 1, PROMPT + 3]),
    )
    streams.enter(both, torch.tensor([END, TEXT]))
    assert streams.total.tolist()[1:3] == [2, UNKNOWN]
    draws = streams.draws(both)
    assert draws.frame.tolist() == [0, 0]
    assert draws.may_end.tolist() == [True, False]


def test_a_closed_stream_leaves_no_end_of_text_behind(streams: AriaStreams) -> None:
    streams.open(start())
    streams.enter(step(1, 1, 0), torch.tensor([END]))
    streams.close(1)
    assert streams.total[1] == UNKNOWN
