"""Codes of the other groups equal transformers', for any number of streams at once."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerCodePredictorConfig,
)
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeTalkerCodePredictorModelForConditionalGeneration as Oracle,
)

from antiphon_executor.models.talker.code_predictor import CodePredictor, PredictorShape, greedy
from antiphon_executor.models.talker.sampling import ResidualDraw, SlotSampling, StreamSampling
from antiphon_executor.reference.code_predictor import CodePredictor as NarrowReference

Sizes = Mapping[str, object]

SMALL: dict[str, object] = {
    "vocab_size": 64,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_code_groups": 8,
}
CONFIGS = {
    "small": SMALL,
    "as many groups as released": SMALL | {"num_code_groups": 16},
    "one head a key": SMALL | {"num_key_value_heads": 4, "num_hidden_layers": 3},
    "another base": SMALL
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rms_norm_eps": 1e-5},
}


def configuration(sizes: Sizes) -> Qwen3OmniMoeTalkerCodePredictorConfig:
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    return Qwen3OmniMoeTalkerCodePredictorConfig(**(rope | dict(sizes)))


def pair(sizes: Sizes, seed: int) -> tuple[Oracle, CodePredictor]:
    """Random weights, norms included, loud enough that no two codes are nearly equal."""
    torch.manual_seed(seed)
    config = configuration(sizes)
    oracle = Oracle(config).eval()
    with torch.no_grad():
        for parameter in oracle.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 2 else 1.0))
    predictor = CodePredictor(config)
    predictor.load_weights(oracle.state_dict().items())
    return oracle, predictor


def inputs(config: Qwen3OmniMoeTalkerCodePredictorConfig, n: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n, config.hidden_size), torch.randn(n, config.hidden_size)


def oracle_codes(oracle: Oracle, hidden: Tensor, code0: Tensor) -> Tensor:
    rows = torch.stack((hidden, code0), dim=1)
    steps = oracle.config.num_code_groups - 1
    return oracle.generate(inputs_embeds=rows, max_new_tokens=steps, do_sample=False)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CONFIGS)
def test_greedy_codes_equal_transformers(name: str, seed: int) -> None:
    oracle, predictor = pair(CONFIGS[name], seed)
    for n in (1, 3, 8):
        hidden, code0 = inputs(oracle.config, n)
        codes = predictor(hidden, code0, greedy)
        assert codes.dtype == torch.int64
        assert torch.equal(codes, oracle_codes(oracle, hidden, code0))
        assert len(codes.unique()) > 1


def test_sampled_codes_are_fed_back_as_transformers_feeds_them() -> None:
    oracle, predictor = pair(SMALL, seed=5)
    hidden, code0 = inputs(oracle.config, 4)
    slots = SlotSampling.empty(4, hidden.device)
    for slot in range(4):
        slots.put(slot, StreamSampling(seed=slot, predictor_temperature=3.0))
    draw = ResidualDraw(slots.rows(torch.arange(4), torch.zeros(4, dtype=torch.int64)), groups=8)
    logits: list[Tensor] = []

    def recorded(given: Tensor, group: int) -> Tensor:
        logits.append(given)
        return draw(given, group)

    codes = predictor(hidden, code0, recorded)
    assert not torch.equal(codes, predictor(hidden, code0, greedy))
    with torch.no_grad():
        embedded = [oracle.model.codec_embedding[k](codes[:, k]) for k in range(6)]
        rows = torch.stack((hidden, code0, *embedded), dim=1)
        last = oracle.model(inputs_embeds=rows).last_hidden_state[:, 1:]
        expected = [head(last[:, k]) for k, head in enumerate(oracle.lm_head)]
    torch.testing.assert_close(torch.stack(logits), torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_a_stream_has_the_same_codes_alone_and_in_a_batch() -> None:
    oracle, predictor = pair(CONFIGS["as many groups as released"], seed=9)
    hidden, code0 = inputs(oracle.config, 8)
    together = predictor(hidden, code0, greedy)
    for i in range(8):
        assert torch.equal(predictor(hidden[i : i + 1], code0[i : i + 1], greedy)[0], together[i])


def test_parameters_have_the_checkpoints_names_and_are_loaded_in_parts() -> None:
    oracle, whole = pair(SMALL, seed=1)
    assert set(dict(whole.named_parameters())) == set(oracle.state_dict())
    weights = list(oracle.state_dict().items())
    parts = CodePredictor(oracle.config)
    taken = parts.load_weights(weights[:9]) | parts.load_weights(weights[9:])
    assert taken == set(oracle.state_dict())
    hidden, code0 = inputs(oracle.config, 2)
    assert torch.equal(parts(hidden, code0, greedy), whole(hidden, code0, greedy))
    for name, parameter in parts.named_parameters():
        assert torch.equal(parameter, oracle.state_dict()[name]), name


@torch.no_grad()
def test_narrower_than_its_talker_it_says_what_the_reference_says() -> None:
    torch.manual_seed(5)
    config = configuration(SMALL)
    reference = NarrowReference(config, talker_hidden=80).eval()
    for parameter in reference.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 2 else 1.0))
    predictor = CodePredictor(config, talker_hidden=80)
    assert predictor.load_weights(reference.state_dict().items()) == set(reference.state_dict())
    hidden, code0 = torch.randn(4, 80), torch.randn(4, 80)
    codes = predictor(hidden, code0, greedy)
    assert torch.equal(codes, reference.draw(hidden, code0, greedy))
    assert len(codes.unique()) > 1


def test_fusing_keeps_no_second_copy_of_the_weights() -> None:
    _, predictor = pair(SMALL, seed=1)
    attention, mlp = predictor.model.layers[0].self_attn, predictor.model.layers[0].mlp
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        assert projection.weight.untyped_storage().data_ptr() == attention.qkv.untyped_storage().data_ptr()
    for projection in (mlp.gate_proj, mlp.up_proj):
        assert projection.weight.untyped_storage().data_ptr() == mlp.gate_up.untyped_storage().data_ptr()


def test_a_weight_of_another_model_is_refused() -> None:
    with pytest.raises(KeyError, match="embed_tokens"):
        CodePredictor(configuration(SMALL)).load_weights([("model.embed_tokens.weight", torch.zeros(1))])


@pytest.mark.parametrize("other", [{"hidden_act": "gelu"}, {"attention_bias": True}, {"sliding_window": 4}])
def test_an_architecture_that_is_not_built_is_refused(other: Sizes) -> None:
    with pytest.raises(ValueError, match="code predictor supports only"):
        PredictorShape.of(configuration(SMALL | dict(other)))
