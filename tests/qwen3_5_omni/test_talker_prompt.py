"""Of a conversation the Talker reads what the user said, and the head of the answer."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_executor.models.qwen3_5_omni.talker_prompt import evenly, kept_tokens
from antiphon_executor.models.special_tokens import PromptIds

IM_START, USER, ASSISTANT, SYSTEM, AUDIO, IMAGE, NEWLINE, WORD = range(1, 9)
IDS = PromptIds(IM_START, USER, ASSISTANT, AUDIO, IMAGE, video=50, tts_pad=51, tts_bos=52, tts_eos=53)
USER_TURN = [IM_START, USER, NEWLINE]
ANSWER = [IM_START, ASSISTANT, NEWLINE]


def kept(prompt: list[int], most: int = 100) -> list[int]:
    ids = np.array(prompt)
    return ids[kept_tokens(ids, IDS, most)].tolist()


def test_system_and_past_answers_are_left_out() -> None:
    system, past = [IM_START, SYSTEM, WORD], [*ANSWER, WORD, WORD]
    first, second = [*USER_TURN, WORD, AUDIO], [*USER_TURN, IMAGE]
    assert kept([*system, *first, *past, *second, *ANSWER]) == [*first, *second, *ANSWER]


def test_what_the_template_puts_behind_the_header_is_the_answers_own_text() -> None:
    assert kept([*USER_TURN, *ANSWER, WORD]) == [*USER_TURN, *ANSWER]


def test_media_beyond_the_cap_are_thinned_out_and_text_is_not() -> None:
    prompt = np.array([*USER_TURN, WORD, *[AUDIO] * 6, WORD, *[IMAGE] * 4, *ANSWER])
    chosen = kept_tokens(prompt, IDS, 5)
    assert chosen.tolist() == [0, 1, 2, 3, 4, 6, 8, 10, 11, 13, 15, 16, 17]


@pytest.mark.parametrize(("rows", "most"), [(10, 10), (3, 10), (10, 3), (1_000, 7), (262_144, 16_384)])
def test_subsampling_keeps_gaps_even(rows: int, most: int) -> None:
    chosen = evenly(np.arange(rows), most)
    assert len(chosen) == min(rows, most)
    assert chosen[0] == 0
    assert np.ptp(np.diff(chosen)) <= 1


def test_a_prompt_without_an_open_answer_is_refused() -> None:
    for prompt in ([], [WORD], [*ANSWER, WORD, *USER_TURN], ANSWER[:2]):
        with pytest.raises(ValueError, match="open assistant turn"):
            kept(prompt)
