"""How a random model's text and speech end: a constant channel, written by no layer, read by the end alone.

In: a model of either family, filled with noise. Out: the same model, changed in place. Without this, an
answer of random weights goes on for ever or ends at once.
"""

from __future__ import annotations

from torch import nn

# The channel of the residual streams that carries the constant.
_CHANNEL = 0
_CONSTANT = 4.0
_TEXT_END = 1.6
_DUAL_TRACK_END = 1.4
# ARIA's EOS is masked until the text has ended, and still 20 frames follow on average.
_ARIA_END = 2.0


def let_text_end(model: nn.Module, spoken_tokens: int) -> None:
    """Of the text tokens from `spoken_tokens` on, only the end of a turn is likely."""
    thinker = model.thinker
    _hold_constant(thinker.model)
    thinker.model.embed_tokens.weight[:, _CHANNEL] = _CONSTANT
    head = thinker.lm_head.weight
    head[:, _CHANNEL] = 0
    head[spoken_tokens:] = 0
    head[model.config.im_end_token_id, _CHANNEL] = _TEXT_END


def let_dual_track_end(model: nn.Module) -> None:
    """Qwen3-Omni's Talker: every row is a text row and codes; the text row brings the constant."""
    talker = model.talker
    talker.model.codec_embedding.weight[:, _CHANNEL] = 0
    for projection in (talker.text_projection, talker.hidden_projection):
        projection.linear_fc2.weight[_CHANNEL] = 0
        projection.linear_fc2.bias[_CHANNEL] = _CONSTANT
    _let_speech_end(model, _DUAL_TRACK_END)


def let_aria_end(model: nn.Module) -> None:
    """Qwen3.5-Omni's Talker: a row is a text token, a medium's or a frame, whose code 0 brings it."""
    talker = model.talker
    talker.model.embed_tokens.weight[:, _CHANNEL] = _CONSTANT
    talker.model.codec_embedding.weight[:, _CHANNEL] = _CONSTANT
    talker.hidden_projection.weight[_CHANNEL] = 0
    talker.hidden_projection.bias[_CHANNEL] = _CONSTANT
    _let_speech_end(model, _ARIA_END)


def _let_speech_end(model: nn.Module, likelihood: float) -> None:
    talker = model.talker
    _hold_constant(talker.model)
    for embedding in talker.code_predictor.model.codec_embedding:
        embedding.weight[:, _CHANNEL] = 0
    head = talker.codec_head.weight
    head[:, _CHANNEL] = 0
    end = model.config.talker_config.codec_eos_token_id
    head[end] = 0
    head[end, _CHANNEL] = likelihood


def _hold_constant(backbone: nn.Module) -> None:
    for layer in backbone.layers:
        mixer = layer.self_attn.o_proj if hasattr(layer, "self_attn") else layer.linear_attn.out_proj
        mixer.weight[_CHANNEL] = 0
        layer.mlp.experts.down_proj[:, _CHANNEL] = 0
        if hasattr(layer.mlp, "shared_expert"):
            layer.mlp.shared_expert.down_proj.weight[_CHANNEL] = 0
    # A zero-centred norm adds the one itself.
    backbone.norm.weight[_CHANNEL] = round(float(backbone.norm.weight.mean()))
