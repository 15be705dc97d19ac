"""The Talker's prompt, positions and text rows are those of transformers' `generate`."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.qwen3_omni.talker_prompt import talker_prompt
from antiphon_executor.models.qwen3_omni.vocabulary import RowKind, SharedRow, TalkerVocabulary
from tests.talker import tiny_omni as tiny
from tests.talker.conversation import (
    HEADER,
    SLOT,
    SPEAKER,
    VOCABULARY,
    Conversation,
    audio,
    image,
    model,
    prompt_of,
    sounding,
    thinker_positions,
    video,
    words,
)
from tests.talker.tiny_omni import IDS


def user_ids(c: Conversation) -> list[int]:
    """transformers' `user_mask`, spelled out over segments."""
    starts = [i for i, token in enumerate(c.ids) if token == tiny.IM_START] + [len(c.ids)]
    segments = [c.ids[a:b] for a, b in pairwise(starts)]
    return list(chain.from_iterable(s for s in segments if s[1] == tiny.USER))


def oracle_positions(c: Conversation) -> np.ndarray:
    """What the Talker's own `generate` prepares, from what the whole model's `generate` hands it."""
    ids = torch.tensor([user_ids(c) + [tiny.TTS_PAD] * 9])
    given = c.media() | {"talker_input_ids": ids, "attention_mask": torch.ones_like(ids)}
    rows = torch.zeros(1, ids.shape[1], 32)
    return model().talker._prepare_position_ids_for_generation(rows, given)[1:, 0].double().numpy()


seconds = st.sampled_from([0.5, 1.0, 2.0, 4.0])
small = st.integers(1, 4)
mel = st.integers(1, 350)
silent_parts = st.one_of(
    st.builds(words, st.integers(0, 5)),
    st.builds(audio, mel),
    st.builds(image, small, small),
    st.builds(video, small, small, small, seconds),
)
sounding_parts = st.one_of(
    st.builds(words, st.integers(0, 5)),
    st.builds(audio, mel),
    st.builds(image, small, small),
    st.builds(sounding, small, small, small, seconds, mel),
)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """System prompts, past answers, user turns; all videos sound or none, as transformers has it."""
    parts = st.lists(draw(st.sampled_from([silent_parts, sounding_parts])), max_size=5)
    c = Conversation()
    for _ in range(draw(st.integers(0, 3))):
        role = draw(st.sampled_from([tiny.SYSTEM, tiny.ASSISTANT, tiny.USER]))
        said = draw(parts) if role == tiny.USER else [words(draw(st.integers(0, 9)))]
        c.turn(role, *said)
    return c.turn(tiny.USER, *draw(parts))


class TestPositions:
    @settings(max_examples=300, deadline=None)
    @given(conversations())
    def test_they_equal_those_of_transformers_over_the_talkers_own_ids(self, c: Conversation) -> None:
        prompt = prompt_of(c)
        assert prompt.positions.dtype == np.float64
        np.testing.assert_array_equal(prompt.positions, oracle_positions(c))
        following = len(prompt.token_ids) + prompt.position_delta
        assert following == prompt.positions[:, -1].max() + 1

    def test_without_media_they_count_rows(self) -> None:
        prompt = prompt_of(Conversation().turn(tiny.SYSTEM, words(7)).turn(tiny.USER, words(4)))
        assert prompt.positions.tolist() == [list(range(len(prompt.token_ids)))] * 3
        assert prompt.position_delta == 0

    def test_a_wide_short_video_with_sound_before_a_picture_leaves_positions_behind_its_width(self) -> None:
        c = Conversation().turn(tiny.USER, sounding(1, 1, 60, 1.0, 20), image(1, 1))
        prompt = prompt_of(c)
        np.testing.assert_array_equal(prompt.positions, oracle_positions(c))
        assert prompt.positions.max() > prompt.positions[:, -1].max()

    def test_a_last_video_with_sound_is_read_as_text_for_want_of_use_audio_in_video(
        self,
    ) -> None:
        """The Thinker places it by time; `generate` does not hand the flag to its Talker."""
        c = Conversation().turn(tiny.USER, sounding(3, 2, 2, 1.0, 250), words(2))
        assert thinker_positions(c).max() < len(c.asked()) - 1
        np.testing.assert_array_equal(prompt_of(c).positions, oracle_positions(c))
        assert prompt_of(c).position_delta == 0


class TestRows:
    @settings(max_examples=100, deadline=None)
    @given(conversations())
    def test_user_segments_come_first_and_media_rows_are_counted_in_order(self, c: Conversation) -> None:
        prompt = prompt_of(c)
        asked = np.array(c.asked())
        rows = [VOCABULARY.decode(token) for token in prompt.token_ids]
        assert (rows[0].kind, rows[0].index) == (RowKind.SLOT, SLOT)
        media = iter(asked[prompt.media_index].tolist())
        read = [tiny.IM_START] + [r.index if r.kind is RowKind.TEXT else next(media) for r in rows[1:-6]]
        assert read == user_ids(c) + HEADER
        assert [r.index for r in rows if r.kind is RowKind.MEDIA] == list(range(len(prompt.media_index)))
        assert np.array_equal(prompt.media_index, IDS.user_media(asked))

    def test_the_assistant_prefix_has_nine_rows(self) -> None:
        prompt = prompt_of(Conversation().turn(tiny.USER, words(1)))
        rows = [VOCABULARY.decode(token) for token in prompt.token_ids[-9:]]
        assert [row.index for row in rows[:3]] == HEADER
        assert [(row.kind, row.index) for row in rows[3:]] == [
            (RowKind.SHARED, SharedRow.NOTHINK),
            (RowKind.SHARED, SharedRow.THINK_BOS),
            (RowKind.SHARED, SharedRow.THINK_EOS),
            (RowKind.SPEAKER, SPEAKER),
            (RowKind.SHARED, SharedRow.TTS_BOS),
            (RowKind.FIRST_TEXT, 0),
        ]

    def test_media_of_system_prompts_and_past_answers_are_dropped(self) -> None:
        c = (
            Conversation()
            .turn(tiny.SYSTEM, image(2, 2))
            .turn(tiny.USER, audio(100))
            .turn(tiny.ASSISTANT, image(1, 2))
        )
        prompt = prompt_of(c)
        assert (np.array(c.asked())[prompt.media_index] == tiny.AUDIO).all()
        assert prompt.positions.tolist() == [list(range(len(prompt.token_ids)))] * 3

    def test_without_a_user_the_prefix_stands_alone(self) -> None:
        prompt = prompt_of(Conversation().turn(tiny.SYSTEM, words(3)))
        assert len(prompt.token_ids) == 9
        assert prompt.positions[0].tolist() == list(range(9))
        assert VOCABULARY.decode(prompt.token_ids[0]).kind is RowKind.SLOT

    def test_text_behind_the_assistant_header_opens_the_text_track(self) -> None:
        ids = np.array([tiny.IM_START, tiny.USER, tiny.NEWLINE, *HEADER, 33, 34])
        prompt = talker_prompt(ids, np.tile(np.arange(8), (3, 1)), IDS, VOCABULARY, slot=1, speaker=0)
        assert prompt.first_text_ids == [33, 34]
        assert len(prompt.token_ids) == 3 + 9

    @pytest.mark.parametrize(
        "ids",
        [[], [30, 31], [tiny.IM_START, tiny.USER, tiny.NEWLINE, 30], HEADER[:2], [*HEADER, *HEADER[:1]]],
    )
    def test_a_prompt_that_asks_for_no_answer_is_refused(self, ids: list[int]) -> None:
        with pytest.raises(InvalidRequest, match="open assistant turn"):
            talker_prompt(
                np.array(ids, np.int32), np.zeros((3, len(ids)), int), IDS, VOCABULARY, slot=1, speaker=0
            )

    def test_more_media_than_the_talker_holds_are_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="speech can follow 4096"):
            prompt_of(Conversation().turn(tiny.USER, image(65, 64)))


class TestVocabulary:
    sizes = st.integers(1, 9)

    @given(codec=sizes, text=sizes, speakers=sizes, slots=sizes, media_rows=sizes)
    def test_every_token_is_one_row_and_every_row_one_token(self, **sizes: int) -> None:
        vocabulary = TalkerVocabulary(**sizes)
        rows = [vocabulary.decode(token) for token in range(vocabulary.size)]
        assert len(set(rows)) == vocabulary.size
        assert [vocabulary.encode(row.kind, row.index) for row in rows] == list(range(vocabulary.size))
        order = list(RowKind)
        assert [order.index(row.kind) for row in rows] == sorted(order.index(row.kind) for row in rows)
        counts = {kind: sum(row.kind is kind for row in rows) for kind in RowKind}
        assert list(counts.values()) == [
            sizes["codec"], sizes["text"], 4, sizes["speakers"], 1, sizes["slots"], sizes["media_rows"]
        ]  # fmt: skip

    @pytest.mark.parametrize("token", [-1, VOCABULARY.size])
    def test_a_token_outside_is_refused(self, token: int) -> None:
        with pytest.raises(ValueError, match="outside"):
            VOCABULARY.decode(token)

    @pytest.mark.parametrize(
        ("kind", "index"), [(RowKind.SLOT, 5), (RowKind.FIRST_TEXT, 1), (RowKind.MEDIA, -1)]
    )
    def test_a_row_outside_its_partition_is_refused(self, kind: RowKind, index: int) -> None:
        with pytest.raises(ValueError, match=kind.name):
            VOCABULARY.encode(kind, index)
