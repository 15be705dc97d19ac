"""A large random Qwen3-Omni checkpoint, written shard by shard in bfloat16.

The experts, nine tenths of it, never exist at once: each is drawn when its shard is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig

from antiphon_executor.tiny import weights
from antiphon_executor.tiny.end_tokens import CHANNEL

SHARD_BYTES = 1 << 30
INDEX = "model.safetensors.index.json"
_GATE_UP, _DOWN = "experts.gate_up_proj", "experts.down_proj"


def allocated(config: Qwen3OmniMoeConfig) -> Qwen3OmniMoeForConditionalGeneration:
    """The model in bfloat16 with empty parameters; its experts stay on the meta device."""
    with torch.device("meta"):
        model = Qwen3OmniMoeForConditionalGeneration(config).to(torch.bfloat16).eval()
    for module in model.modules():
        if not hasattr(module, "gate_up_proj"):
            module.to_empty(device="cpu", recurse=False)
    return model


def save(model: Qwen3OmniMoeForConditionalGeneration, path: Path, seed: int) -> None:
    """Writes configuration and weights to `path`, with tensors named as in the released checkpoint."""
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "bfloat16"
    model.config.save_pretrained(path)
    model.generation_config.save_pretrained(path)
    write_shards(path, tensors(model, seed), SHARD_BYTES)


def tensors(model: nn.Module, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The model's tensors, and its experts' one by one."""
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in model.named_parameters():
        if not parameter.is_meta:
            yield name, parameter.data
            continue
        experts, *shape = parameter.shape
        before, _, kind = name.rpartition(".")
        for expert in range(experts):
            drawn = weights.noise(name, torch.Size(shape), generator).to(parameter.dtype)
            if name.endswith(_GATE_UP):
                gate, up = drawn.chunk(2)
                yield f"{before}.{expert}.gate_proj.weight", gate
                yield f"{before}.{expert}.up_proj.weight", up
            elif name.endswith(_DOWN):
                drawn[CHANNEL] = 0
                yield f"{before}.{expert}.{kind}.weight", drawn
            else:
                raise ValueError(f"{name} is no expert")


def write_shards(path: Path, named: Iterable[tuple[str, Tensor]], shard_bytes: int) -> None:
    """Writes tensors and an index. Holds at most `shard_bytes` of them and one tensor more."""
    shard: dict[str, Tensor] = {}
    shards: list[list[str]] = []
    held = total = 0

    def flush() -> None:
        nonlocal held
        shards.append(list(shard))
        save_file(shard, _part(path, len(shards)), metadata={"format": "pt"})
        shard.clear()
        held = 0

    for name, tensor in named:
        if shard and held + tensor.nbytes > shard_bytes:
            flush()
        # A part of a larger tensor would be stored whole, and keep it.
        shard[name] = tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor
        held, total = held + tensor.nbytes, total + tensor.nbytes
    flush()
    files: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _part(path, number).rename(path / file)
        files |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(files.items()))}
    (path / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _part(path: Path, number: int) -> Path:
    return path / f"model-{number:05}.part"
