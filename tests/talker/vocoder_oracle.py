"""transformers' Code2Wav with random weights that hide no difference: the oracle of the vocoder's tests.

The defaults would hide some: a layer scale of 0.01, a ConvNeXt gamma of 1e-6, snakes with alpha and beta 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

_SMALL = {"codebook_size": 64, "num_quantizers": 4, "num_hidden_layers": 2}
SIZES: dict[str, Qwen3OmniMoeCode2WavConfig] = {
    "unit": Qwen3OmniMoeCode2WavConfig(
        **_SMALL,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        decoder_dim=32,
    ),
    "tiny": Qwen3OmniMoeCode2WavConfig(
        **(_SMALL | {"codebook_size": 256, "num_quantizers": 8}),
        hidden_size=64,
        intermediate_size=128,
        num_attention_heads=4,
        num_key_value_heads=4,
        decoder_dim=96,
    ),
    "nano": Qwen3OmniMoeCode2WavConfig(
        **(_SMALL | {"codebook_size": 512, "num_quantizers": 8}),
        hidden_size=192,
        intermediate_size=384,
        num_attention_heads=4,
        num_key_value_heads=4,
        decoder_dim=128,
    ),
    "released": Qwen3OmniMoeCode2WavConfig(),
}


def random_code2wav(config: Qwen3OmniMoeCode2WavConfig, seed: int) -> Qwen3OmniMoeCode2Wav:
    """A decoder whose every parameter matters, and whose sound neither vanishes nor clips."""
    torch.manual_seed(seed)
    oracle = Qwen3OmniMoeCode2Wav._from_config(config).eval()
    for name, parameter in oracle.named_parameters():
        nn.init.normal_(parameter, *_distribution(name, parameter))
    return oracle.requires_grad_(False)


def _distribution(name: str, parameter: Tensor) -> tuple[float, float]:
    """Mean and deviation of a parameter's values."""
    if name.endswith(("alpha", "beta")):
        return 0.0, 0.3
    if name.endswith(("scale", "gamma")):
        return 0.5, 0.2
    if "embedding" in name:
        return 0.0, 1.0
    if parameter.ndim == 1:
        return (0.0, 0.1) if name.endswith("bias") else (1.0, 0.2)
    gain = 0.3 if "conv2" in name else 0.6
    return 0.0, gain * parameter[0].numel() ** -0.5


def one_shot(oracle: Qwen3OmniMoeCode2Wav, codes: Tensor) -> Tensor:
    """The oracle's sound [streams, samples] of `codes` int64 [streams, frames, groups]."""
    return oracle(codes.transpose(1, 2)).squeeze(1)
