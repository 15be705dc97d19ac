"""The vocoder in training: transformers' Code2Wav as it is served, with initial weights that can be trained.

The code embedding starts as the codebooks, so that similar codes start alike. The parts of the model can be
run separately on excerpts. No parameter is added.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeCode2Wav,
    Qwen3OmniMoeCode2WavDecoderResidualUnit,
)

DECODER_CONTEXT_FRAMES = 5
"""Context of the convolutional decoder, rounded up."""
_LAYER_SCALE = 0.3
_BLOCK_SCALE = 0.1
_UNIT_SCALE = 0.3
_LOUDNESS = 0.1
"""Approximate loudness (root mean square) of an untrained vocoder's output."""


def fresh_vocoder(config: PreTrainedConfig, codebooks: Tensor) -> Qwen3OmniMoeCode2Wav:
    """`codebooks`: [groups, entries, width]. Uses torch's global random generator."""
    model = Qwen3OmniMoeCode2Wav(config)
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear):
            _preserve_variance(module)
    for name, module in model.named_modules():
        if name.endswith("layer_scale"):
            nn.init.constant_(module.scale, _LAYER_SCALE)
        if hasattr(module, "gamma"):
            nn.init.constant_(module.gamma, _BLOCK_SCALE)
        if isinstance(module, Qwen3OmniMoeCode2WavDecoderResidualUnit):
            _preserve_variance(module.conv2.conv, _UNIT_SCALE)
    with torch.no_grad():
        model.decoder[-1].conv.weight.mul_(_LOUDNESS)
        model.code_embedding.weight.copy_(_embedding(codebooks, config.hidden_size))
    return model


def _preserve_variance(module: nn.Conv1d | nn.ConvTranspose1d | nn.Linear, scale: float = 1.0) -> None:
    """Weights that preserve the signal's variance, and zero biases: with the usual ones, the output of a deep
    decoder does not depend on its input.
    """
    inputs = module.weight[0].numel()
    if isinstance(module, nn.ConvTranspose1d):
        inputs = module.in_channels * module.kernel_size[0] // module.stride[0]
    nn.init.normal_(module.weight, std=scale * inputs**-0.5)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _embedding(codebooks: Tensor, width: int) -> Tensor:
    """[groups * entries, width]: the codebooks, rotated at random and scaled to entries of about 1. The model
    averages over a frame's groups, which gives the quantized vector.
    """
    turn = torch.linalg.qr(torch.randn(width, codebooks.shape[2]))[0].T
    turned = codebooks.flatten(0, 1) @ turn
    spread = codebooks.pow(2).mean((1, 2)).sum().sqrt() * (codebooks.shape[2] / width) ** 0.5
    return turned * len(codebooks) / spread


def features(model: Qwen3OmniMoeCode2Wav, codes: Tensor) -> Tensor:
    """Codes [streams, groups, frames] to the decoder's input [streams, hidden, frames * 4]."""
    return features_of_rows(model, model.code_embedding(codes + model.code_offset).mean(1))


def features_of_rows(model: Qwen3OmniMoeCode2Wav, rows: Tensor) -> Tensor:
    """The decoder's input from embedded codes [streams, frames, hidden]."""
    rows = model.pre_transformer(inputs_embeds=rows).last_hidden_state.permute(0, 2, 1)
    for blocks in model.upsample:
        for block in blocks:
            rows = block(rows)
    return rows


def waveform(model: Qwen3OmniMoeCode2Wav, rows: Tensor) -> Tensor:
    """`features` to [streams, samples], not clamped, and `cut_samples` shorter than its frames."""
    for block in model.decoder:
        rows = block(rows)
    return rows[:, 0]


def cut_samples(config: PreTrainedConfig) -> int:
    """Samples that transposed convolutions without padding omit at the end."""
    cut = 0
    for rate in config.upsample_rates:
        cut = cut * rate + rate
    return cut
