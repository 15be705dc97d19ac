"""Talker weights out of an omni checkpoint: `talker.*`, `code2wav.*` and the Thinker's embedding table.

The embedding table is projected once and dropped: a text row is then one gather. Of a local checkpoint only
the tensors that are needed are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from vllm.config import ModelConfig
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper

from antiphon_executor.talker.text_rows import project_text_table

if TYPE_CHECKING:
    from antiphon_executor.talker.model import Qwen3OmniTalker

EMBEDDING = "thinker.model.embed_tokens.weight"
INDEX = "model.safetensors.index.json"
_TO_TALKER = WeightsMapper(orig_to_new_prefix={"talker.": ""})


def load_talker_weights(
    talker: Qwen3OmniTalker, weights: Iterable[tuple[str, torch.Tensor]], config: ModelConfig
) -> set[str]:
    """Loads the parameters and derives the tables. Returns the names of the parameters that were set."""
    folder = Path(config.model)
    source = read_wanted(folder) if folder.is_dir() else ((n, w) for n, w in weights if _wanted(n))
    embedding: list[torch.Tensor] = []

    def parameters() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in source:
            if name == EMBEDDING:
                embedding.append(tensor)
            else:
                yield name, tensor

    loaded = AutoWeightsLoader(talker).load_weights(parameters(), mapper=_TO_TALKER)
    if not embedding:
        raise ValueError(f"the checkpoint has no {EMBEDDING}")
    _derive_tables(talker, embedding[0])
    return loaded


def read_wanted(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a checkpoint folder that the Talker needs, one at a time."""
    index = folder / INDEX
    if index.is_file():
        names: dict[str, str] = json.loads(index.read_text())["weight_map"]
        files = sorted({file for name, file in names.items() if _wanted(name)})
    else:
        files = sorted(path.name for path in folder.glob("*.safetensors"))
    for file in files:
        with safe_open(folder / file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
                if _wanted(name):
                    yield name, tensors.get_tensor(name)


def _wanted(name: str) -> bool:
    return name == EMBEDDING or name.startswith(("talker.", "code2wav."))


def _derive_tables(talker: Qwen3OmniTalker, embedding: torch.Tensor) -> None:
    weight = talker.codec_head.weight
    rows = talker.prompt_rows
    rows.text_table = project_text_table(embedding.to(weight), talker.text_projection)
    tables = [talker.model.codec_embedding.weight]
    tables += [group.weight for group in talker.code_predictor.model.codec_embedding]
    sizes = torch.tensor([0] + [len(table) for table in tables[:-1]], device=weight.device)
    rows.code_table = torch.cat(tables).detach()
    rows.code_offsets = sizes.cumsum(0)
