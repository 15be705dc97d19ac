"""Loads a Talker's weights from an omni checkpoint: `talker.*`, `code2wav.*`, and a family's extra tensors.

From a local checkpoint only the tensors that are needed are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import safe_open
from torch import nn
from vllm.config import ModelConfig
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from antiphon_executor.models.talker.code_predictor import CodePredictor

INDEX = "model.safetensors.index.json"
# Ports of Qwen3.5-Omni name the vocoder `audio_tokenizer`.
_PREFIXES = ("talker.", "code2wav.", "audio_tokenizer.")
_TO_TALKER = WeightsMapper(orig_to_new_prefix={"talker.": "", "audio_tokenizer.": "code2wav."})


def load_talker_weights(
    talker: nn.Module,
    weights: Iterable[tuple[str, torch.Tensor]],
    config: ModelConfig,
    aside: Mapping[str, Callable[[torch.Tensor], None]] = MappingProxyType({}),
) -> set[str]:
    """Loads the parameters and returns their names. ValueError if the checkpoint lacks any of them.

    `aside`: receivers, by name, of tensors that are not parameters of the Talker.
    """

    def parameters() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in _wanted(weights, config, (*_PREFIXES, *aside)):
            if name in aside:
                aside[name](tensor)
            else:
                yield name, tensor

    loaded = AutoWeightsLoader(talker).load_weights(parameters(), mapper=_TO_TALKER)
    # A module's tensors may be spread over shards, so only the whole checkpoint shows what is missing.
    missing = sorted(name for name, _ in talker.named_parameters() if name not in loaded)
    if missing:
        raise ValueError(f"the Talker's weights lack {len(missing)} tensors, {missing[0]} first")
    return loaded


def code_table(codec_embedding: nn.Embedding, predictor: CodePredictor) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings of all code groups in one table [rows, hidden], and each group's first row [groups]."""
    tables = [codec_embedding.weight, *(group.weight for group in predictor.model.codec_embedding)]
    sizes = torch.tensor([0] + [len(table) for table in tables[:-1]], device=codec_embedding.weight.device)
    return torch.cat(tables).detach(), sizes.cumsum(0)


def _wanted(
    weights: Iterable[tuple[str, torch.Tensor]], config: ModelConfig, prefixes: tuple[str, ...]
) -> Iterator[tuple[str, torch.Tensor]]:
    folder = Path(config.model)
    if folder.is_dir():
        return read_wanted(folder, prefixes)
    return ((name, weight) for name, weight in weights if name.startswith(prefixes))


def read_wanted(folder: Path, prefixes: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of a checkpoint folder whose names start with one of `prefixes`, one at a time."""
    index = folder / INDEX
    if index.is_file():
        names: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = sorted({file for name, file in names.items() if name.startswith(prefixes)})
    else:
        files = sorted(path.name for path in folder.glob("*.safetensors"))
    for file in files:
        with safe_open(folder / file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - safe_open is not a mapping
                if name.startswith(prefixes):
                    yield name, tensors.get_tensor(name)
