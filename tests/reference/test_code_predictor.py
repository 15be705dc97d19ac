"""A predictor as wide as the Talker is transformers'; a narrower one is consistent with itself."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerCodePredictorConfig,
)
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration as Oracle,
)

from antiphon_executor.models.talker.code_predictor import greedy
from antiphon_executor.reference.code_predictor import CodePredictor
from tests.reference.mini import PREDICTOR, make_loud


def predictor(hidden: int) -> CodePredictor:
    config = Qwen3OmniMoeTalkerCodePredictorConfig(
        **(PREDICTOR | {"hidden_size": hidden, "num_code_groups": 5})
    )
    model = CodePredictor(config, talker_hidden=32).eval()
    make_loud(model, seed=2)
    return model


@torch.no_grad()
def test_greedy_codes_equal_transformers() -> None:
    ours = predictor(hidden=32)
    oracle = Oracle(ours.model.config).eval()
    oracle.load_state_dict(ours.state_dict())
    hidden, code0_rows = torch.randn(6, 32), torch.randn(6, 32)
    rows = torch.stack((hidden, code0_rows), dim=1)
    codes = ours.draw(hidden, code0_rows, greedy)
    assert torch.equal(codes, oracle.generate(inputs_embeds=rows, max_new_tokens=4, do_sample=False))
    assert len(codes.unique()) > 4


@torch.no_grad()
@pytest.mark.parametrize("hidden", [24, 32])
def test_teacher_forced_logits_draw_the_same_codes(hidden: int) -> None:
    model = predictor(hidden)
    states, code0_rows = torch.randn(6, 32), torch.randn(6, 32)
    codes = model.draw(states, code0_rows, greedy)
    logits = model(states, code0_rows, codes)
    assert logits.shape == (6, 4, PREDICTOR["vocab_size"])
    assert torch.equal(logits.argmax(-1), codes)
