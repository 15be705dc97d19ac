"""The selected hidden states: all user media for Qwen3-Omni; for Qwen3.5-Omni those that its Talker keeps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.models.hidden_states.context_selection import (
    AllMedia,
    ProjectedContent,
    context_selection_of,
)
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import is_projected, kept_tokens
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.tiny.qwen3_omni_config import tiny_config as tiny_qwen3_omni
from antiphon_executor.tiny.tokenizer import tiny_tokenizer

AUDIO, IMAGE, VIDEO, SEGMENT, USER, ASSISTANT, SYSTEM = range(1, 8)
MOST = 5
CONFIG = Qwen3_5OmniMoeConfig(
    thinker_config={"audio_token_id": AUDIO, "image_token_id": IMAGE, "video_token_id": VIDEO},
    talker_config={"max_media_rows": MOST},
    im_start_token_id=SEGMENT,
    user_token_id=USER,
    assistant_token_id=ASSISTANT,
    system_token_id=SYSTEM,
)
segments = st.tuples(
    st.sampled_from((USER, ASSISTANT, SYSTEM)),
    st.lists(st.sampled_from((AUDIO, IMAGE, VIDEO, 9)), max_size=20),
)


@given(st.lists(segments, max_size=4))
def test_those_that_the_talker_keeps(before: list[tuple[int, list[int]]]) -> None:
    """Given any conversation, then the rows sent are the media among the Talker's tokens, and no more."""
    ids = [token for role, text in before for token in (SEGMENT, role, *text)]
    prompt = np.array([*ids, SEGMENT, ASSISTANT, 9], dtype=np.int32)
    known = PromptIds.of(CONFIG)
    kept = kept_tokens(prompt, known, MOST)
    rows = ProjectedContent(CONFIG).rows(prompt)
    assert rows.dtype == np.int32
    assert rows.tolist() == kept[known.is_media(prompt[kept])].tolist()
    assert len(rows) <= MOST


def test_a_prompt_without_an_open_answer_has_rows_too() -> None:
    """The engine is not the one to refuse a prompt."""
    assert ProjectedContent(CONFIG).rows(np.array([SEGMENT, USER, AUDIO], dtype=np.int32)).tolist() == [2]


def test_positions_do_not_travel_where_the_talker_has_its_own() -> None:
    positions = ProjectedContent(CONFIG).positions(np.arange(7, dtype=np.int32), [])
    assert positions.shape == (3, 0)
    assert positions.dtype == np.int32


def test_the_family_decides() -> None:
    assert isinstance(context_selection_of(CONFIG), ProjectedContent)
    assert isinstance(context_selection_of(tiny_qwen3_omni(tiny_tokenizer().get_vocab())), AllMedia)


@given(st.lists(segments, max_size=4))
def test_user_text_is_sent_too_if_the_layout_projects_it(before: list[tuple[int, list[int]]]) -> None:
    config = Qwen3_5OmniMoeConfig.from_dict(CONFIG.to_dict())
    talker = config.talker_config
    talker.codec_nothink_id, talker.codec_think_bos_id, talker.codec_think_eos_id = 1, 2, 3
    ids = [token for role, text in before for token in (SEGMENT, role, *text)]
    prompt = np.array([*ids, SEGMENT, ASSISTANT, 9], dtype=np.int32)
    known = PromptIds.of(config)
    rows = ProjectedContent(config).rows(prompt)
    kept = kept_tokens(prompt, known, MOST)
    assert rows.tolist() == kept[is_projected(prompt, known, projects_text=True)[kept]].tolist()
    media = ProjectedContent(CONFIG).rows(prompt)
    # A segment's first three tokens are its role, here with one token that may be a medium.
    assert set(rows) >= {row for row in media if prompt[max(row - 2, 0)] != SEGMENT}
