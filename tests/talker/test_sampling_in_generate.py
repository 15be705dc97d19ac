"""The filters and their defaults are those that transformers' own `generate` applies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from antiphon_executor.models.talker.sampling import StreamSampling, suppressed_codes
from tests.talker import tiny_omni as tiny
from tests.talker.conversation import Conversation, model, words

DEFAULTS = StreamSampling(seed=0)


def record(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> list[LogitsProcessorList]:
    made: list[LogitsProcessorList] = []
    original = module._get_logits_processor

    def noted(*args: Any, **kwargs: Any) -> LogitsProcessorList:
        made.append(original(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(module, "_get_logits_processor", noted)
    return made


def test_generate_filters_code_0_and_the_residual_codes_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talker = record(model().talker, monkeypatch)
    predictor = record(model().talker.code_predictor, monkeypatch)
    ids = torch.tensor([Conversation().turn(tiny.USER, words(3)).asked()])
    model().generate(ids, thinker_max_new_tokens=4, thinker_eos_token_id=tiny.IM_END, talker_max_new_tokens=3)

    penalty, suppression, temperature, top_k = talker[0]
    assert isinstance(penalty, RepetitionPenaltyLogitsProcessor)
    assert penalty.penalty == DEFAULTS.repetition_penalty
    assert isinstance(suppression, SuppressTokensLogitsProcessor)
    suppressed = suppressed_codes(tiny.CODEC_VOCAB, tiny.CODEC_EOS, ids.device)
    assert suppression.suppress_tokens.tolist() == torch.nonzero(suppressed).flatten().tolist()
    assert isinstance(temperature, TemperatureLogitsWarper)
    assert temperature.temperature == DEFAULTS.temperature
    assert isinstance(top_k, TopKLogitsWarper)
    assert top_k.top_k == DEFAULTS.top_k

    residual_top_k, residual_top_p = predictor[0]
    assert DEFAULTS.predictor_temperature == 1.0, "no warper means a temperature of 1"
    assert isinstance(residual_top_k, TopKLogitsWarper)
    assert residual_top_k.top_k == DEFAULTS.predictor_top_k
    assert isinstance(residual_top_p, TopPLogitsWarper)
    assert residual_top_p.top_p == DEFAULTS.predictor_top_p


def test_generate_takes_top_p_and_repetition_penalty_for_code_0_and_puts_top_p_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talker = record(model().talker, monkeypatch)
    ids = torch.tensor([Conversation().turn(tiny.USER, words(3)).asked()])
    model().generate(
        ids,
        thinker_max_new_tokens=4,
        thinker_eos_token_id=tiny.IM_END,
        talker_max_new_tokens=3,
        talker_top_p=0.7,
        talker_repetition_penalty=1.3,
    )
    penalty, _, _, top_k, top_p = talker[0]
    assert penalty.penalty == 1.3
    assert isinstance(top_k, TopKLogitsWarper)
    assert isinstance(top_p, TopPLogitsWarper)
    assert top_p.top_p == 0.7
