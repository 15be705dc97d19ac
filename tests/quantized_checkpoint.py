"""A checkpoint in the compressed-tensors format, as llm-compressor writes it: attention in 4 bits."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GROUP = 32
_QUANTIZED = re.compile(r"^thinker\.model\.layers\.\d+\.self_attn\.[qkvo]_proj\.weight$")
CONFIG = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "quantization_status": "compressed",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {
                "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP,
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
        }
    },
    "ignore": [
        "thinker.lm_head", "re:.*audio_tower.*", "re:.*visual.*", "re:.*\\.mlp\\..*",
        "re:talker.*", "re:code2wav.*",
    ],
}  # fmt: skip


def write_quantized(source: Path, quantized: Path, rounded: Path) -> None:
    """Writes `source` to `quantized` in 4 bits, and to `rounded` with the same values in its own dtype."""
    weights = load_file(source / "model.safetensors")
    packed, plain = dict(weights), dict(weights)
    for name in filter(_QUANTIZED.match, weights):
        codes, scales = _quantize(weights[name])
        del packed[name]
        stem = name.removesuffix(".weight")
        packed[f"{stem}.weight_packed"] = _pack(codes)
        packed[f"{stem}.weight_scale"] = scales
        packed[f"{stem}.weight_shape"] = torch.tensor(codes.shape)
        plain[name] = (codes.unflatten(1, (-1, GROUP)) * scales[..., None]).flatten(1)
    for folder, tensors in ((quantized, packed), (rounded, plain)):
        shutil.copytree(source, folder)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((quantized / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = CONFIG
    (quantized / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes from -8 to 7 [out, in], scales [out, in / GROUP]."""
    groups = weight.unflatten(1, (-1, GROUP))
    scales = (groups.abs().amax(-1) / 7.5).clamp(min=1e-6).bfloat16().float()
    codes = (groups / scales[..., None]).round().clamp(-8, 7)
    return codes.flatten(1), scales


def _pack(codes: torch.Tensor) -> torch.Tensor:
    """Eight codes in an int32, the first in the lowest bits, each with an offset of 8."""
    nibbles = (codes.long() + 8).unflatten(1, (-1, 8))
    words = (nibbles << (4 * torch.arange(8))).sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)
