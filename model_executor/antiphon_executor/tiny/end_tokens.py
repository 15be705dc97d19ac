"""Makes the text and speech of a random model end after a while.

One residual channel carries a constant that no layer changes and only the logits of the end tokens read.
Without it, answers of random weights would never end or would end immediately.
"""

from __future__ import annotations

from torch import nn

CHANNEL = 0
"""The residual channel that carries the constant."""

_CONSTANT = 4.0
_TEXT_END = 1.6
_DUAL_TRACK_END = 1.4
# ARIA's EOS is masked until the text has ended; 20 further frames follow on average.
_ARIA_END = 2.0


def make_text_end(model: nn.Module, spoken_tokens: int) -> None:
    """Of the text tokens from `spoken_tokens` on, makes only `<|im_end|>` likely.

    Experts on the meta device stay as they are.
    """
    thinker = model.thinker
    _hold_constant(thinker.model)
    thinker.model.embed_tokens.weight[:, CHANNEL] = _CONSTANT
    head = thinker.lm_head.weight
    head[:, CHANNEL] = 0
    head[spoken_tokens:] = 0
    head[model.config.im_end_token_id, CHANNEL] = _TEXT_END


def make_dual_track_end(model: nn.Module) -> None:
    """Qwen3-Omni's Talker: each row is the sum of text and codes; the text part carries the constant."""
    talker = model.talker
    talker.model.codec_embedding.weight[:, CHANNEL] = 0
    for projection in (talker.text_projection, talker.hidden_projection):
        projection.linear_fc2.weight[CHANNEL] = 0
        projection.linear_fc2.bias[CHANNEL] = _CONSTANT
    _make_speech_end(model, _DUAL_TRACK_END)


def make_aria_end(model: nn.Module) -> None:
    """Qwen3.5-Omni's Talker: text rows, media rows and code 0 of each frame carry the constant."""
    talker = model.talker
    talker.model.embed_tokens.weight[:, CHANNEL] = _CONSTANT
    talker.model.codec_embedding.weight[:, CHANNEL] = _CONSTANT
    talker.hidden_projection.weight[CHANNEL] = 0
    talker.hidden_projection.bias[CHANNEL] = _CONSTANT
    _make_speech_end(model, _ARIA_END)


def _make_speech_end(model: nn.Module, logit_weight: float) -> None:
    talker = model.talker
    _hold_constant(talker.model)
    for embedding in talker.code_predictor.model.codec_embedding:
        embedding.weight[:, CHANNEL] = 0
    head = talker.codec_head.weight
    head[:, CHANNEL] = 0
    end = model.config.talker_config.codec_eos_token_id
    head[end] = 0
    head[end, CHANNEL] = logit_weight


def _hold_constant(backbone: nn.Module) -> None:
    for layer in backbone.layers:
        mixer = layer.self_attn.o_proj if hasattr(layer, "self_attn") else layer.linear_attn.out_proj
        mixer.weight[CHANNEL] = 0
        layer.mlp.experts.down_proj[:, CHANNEL] = 0
        if hasattr(layer.mlp, "shared_expert"):
            layer.mlp.shared_expert.down_proj.weight[CHANNEL] = 0
    # A zero-centered norm adds 1 to its weight.
    backbone.norm.weight[CHANNEL] = round(float(backbone.norm.weight.mean()))
