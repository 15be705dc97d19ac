"""An ARIA prompt names the rows that the reference's Talker reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.models.aria.prompt import AriaPrompt, aria_prompt
from antiphon_executor.models.aria.vocabulary import AriaKind, AriaVocabulary
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, VoicePrompt
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from tests.reference import mini

IDS = PromptIds.of(mini.mini_config())
VOCABULARY = AriaVocabulary(codec=mini.CODEC_VOCAB, text=mini.VOCAB, slots=4, embedding_rows=64)
BOS = mini.CODES + 1


MARKED = PromptLayout.of(mini.marked_config())


def prompt(
    thinker_ids: np.ndarray,
    voice: VoicePrompt,
    most: int = 12,
    vocabulary: AriaVocabulary = VOCABULARY,
    layout: PromptLayout | None = None,
) -> AriaPrompt:
    return aria_prompt(
        thinker_ids,
        IDS,
        vocabulary,
        slot=3,
        voice=voice,
        max_media_rows=most,
        layout=layout or PromptLayout(BOS),
    )


@pytest.fixture(scope="module")
def model() -> Qwen3_5OmniMoeForConditionalGeneration:
    return mini.mini_model(seed=2)


@torch.no_grad()
def rows(model: Qwen3_5OmniMoeForConditionalGeneration, made: AriaPrompt, voice: VoicePrompt) -> torch.Tensor:
    """The row that each token id names, by the reference's own tables."""
    accepted = model.thinker(mini.mini_prompt()).layers[model.config.talker_config.accept_hidden_layer]
    media = model.talker.hidden_projection(accepted[torch.as_tensor(made.media_index)])
    table = torch.cat(
        (
            model.talker.model.codec_embedding.weight,
            model.talker.model.embed_tokens.weight,
            model.talker.text_rows([mini.IM_START]).expand(VOCABULARY.slots, -1),
            model.talker.frame_rows(torch.as_tensor(voice.codes)),
            media,
        )
    )
    return table[torch.as_tensor(made.token_ids)]


@pytest.mark.parametrize("frames", [5, 0])
@torch.no_grad()
def test_the_rows_are_those_of_the_reference(
    model: Qwen3_5OmniMoeForConditionalGeneration, frames: int
) -> None:
    thinker, voice = mini.mini_prompt(), mini.mini_voice(frames)
    made = prompt(thinker.token_ids.numpy(), voice)
    assert len(made.media_index) == 12
    torch.testing.assert_close(rows(model, made, voice), model.talker_rows(thinker, voice))


@pytest.mark.parametrize("language", [None, "english"])
@pytest.mark.parametrize("frames", [5, 0])
@torch.no_grad()
def test_the_rows_of_the_ports_layout_are_those_of_the_reference(frames: int, language: str | None) -> None:
    model, thinker = mini.marked_model(seed=2), mini.mini_prompt()
    voice = replace(mini.mini_voice(frames), language=language)
    made = prompt(thinker.token_ids.numpy(), voice, layout=MARKED)
    torch.testing.assert_close(rows(model, made, voice), model.talker_rows(thinker, voice))
    # More than the media: the user's text too.
    assert len(made.media_index) > 12


def test_user_text_without_room_is_refused() -> None:
    small = AriaVocabulary(codec=mini.CODEC_VOCAB, text=mini.VOCAB, slots=4, embedding_rows=6)
    with pytest.raises(InvalidRequest, match="tokens of user text; a spoken answer allows 1"):
        prompt(mini.mini_prompt().token_ids.numpy(), mini.mini_voice(5), vocabulary=small, layout=MARKED)


def test_the_first_token_names_the_slot() -> None:
    made = prompt(mini.mini_prompt().token_ids.numpy(), mini.mini_voice())
    assert made.token_ids[0] == VOCABULARY.encode(AriaKind.SLOT, 3)
    assert sum(VOCABULARY.slot_base <= token < VOCABULARY.embedding_base for token in made.token_ids) == 1


def test_voice_frames_leave_less_room_for_media() -> None:
    small = AriaVocabulary(codec=mini.CODEC_VOCAB, text=mini.VOCAB, slots=4, embedding_rows=9)
    made = prompt(mini.mini_prompt().token_ids.numpy(), mini.mini_voice(5), vocabulary=small)
    assert len(made.media_index) == 4
    assert max(made.token_ids) == small.size - 1


def test_a_prompt_without_an_open_assistant_turn_is_an_invalid_turn() -> None:
    with pytest.raises(InvalidRequest, match="open assistant turn"):
        prompt(mini.mini_prompt().token_ids.numpy()[:-3], mini.mini_voice())


def test_a_voice_must_begin_with_im_start_and_fit() -> None:
    ids = mini.mini_prompt().token_ids.numpy()
    with pytest.raises(ValueError, match="im_start"):
        prompt(ids, VoicePrompt((40,), mini.mini_voice().codes, ()))
    with pytest.raises(ValueError, match="frames"):
        prompt(ids, mini.mini_voice(65))


def test_a_row_outside_of_its_partition_has_no_id() -> None:
    with pytest.raises(ValueError, match="row 4 of kind SLOT is out of range: there are 4"):
        VOCABULARY.encode(AriaKind.SLOT, 4)
