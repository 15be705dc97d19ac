"""Talker weights out of an omni checkpoint: `talker.*`, `code2wav.*`, of Qwen3-Omni also the text embedding.

The Thinker's embedding table is projected once and dropped: a text row is then one gather. Of a local
checkpoint only the tensors that are needed are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import nn
from vllm.config import ModelConfig
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from antiphon_executor.models.qwen3_omni.text_rows import project_text_table
from antiphon_executor.models.talker.code_predictor import CodePredictor

if TYPE_CHECKING:
    from antiphon_executor.models.aria.talker import Qwen3_5OmniTalker
    from antiphon_executor.models.qwen3_omni.talker import Qwen3OmniTalker

EMBEDDING = "thinker.model.embed_tokens.weight"
INDEX = "model.safetensors.index.json"
_PREFIXES = ("talker.", "code2wav.")
_TO_TALKER = WeightsMapper(orig_to_new_prefix={"talker.": ""})


def load_talker_weights(
    talker: Qwen3OmniTalker, weights: Iterable[tuple[str, torch.Tensor]], config: ModelConfig
) -> set[str]:
    """Loads the parameters and derives the tables. Returns the names of the parameters that were set."""
    embedding: list[torch.Tensor] = []

    def parameters() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in _wanted(weights, config, (*_PREFIXES, EMBEDDING)):
            if name == EMBEDDING:
                embedding.append(tensor)
            else:
                yield name, tensor

    loaded = AutoWeightsLoader(talker).load_weights(parameters(), mapper=_TO_TALKER)
    if not embedding:
        raise ValueError(f"the checkpoint has no {EMBEDDING}")
    weight, rows = talker.codec_head.weight, talker.prompt_rows
    rows.text_table = project_text_table(embedding[0].to(weight), talker.text_projection)
    rows.code_table, rows.code_offsets = code_table(talker.model.codec_embedding, talker.code_predictor)
    return loaded


def load_aria_weights(
    talker: Qwen3_5OmniTalker, weights: Iterable[tuple[str, torch.Tensor]], config: ModelConfig
) -> set[str]:
    """Loads the parameters; returns the names of those that were set."""
    return AutoWeightsLoader(talker).load_weights(_wanted(weights, config, _PREFIXES), mapper=_TO_TALKER)


def code_table(codec_embedding: nn.Embedding, predictor: CodePredictor) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings of all code groups in one table [rows, hidden], and where each group begins [groups]."""
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
    """Tensors of a checkpoint folder whose names begin so, one at a time."""
    index = folder / INDEX
    if index.is_file():
        names: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = sorted({file for name, file in names.items() if name.startswith(prefixes)})
    else:
        files = sorted(path.name for path in folder.glob("*.safetensors"))
    for file in files:
        with safe_open(folder / file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                if name.startswith(prefixes):
                    yield name, tensors.get_tensor(name)
