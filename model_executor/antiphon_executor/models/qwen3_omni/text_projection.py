"""Projects the Thinker's embeddings into the Talker's space, once at load: the table of all text ids.

With this table, text reaches the Talker as ids, and no projection runs per step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMBEDDING = "thinker.model.embed_tokens.weight"


class ResizeMLP(nn.Module):
    """`text_projection` and `hidden_projection`: thinker_hidden → intermediate → talker_hidden, SiLU between.

    Parameter names are the checkpoint's (transformers: `Qwen3OmniMoeTalkerResizeMLP`).
    """

    def __init__(self, thinker_hidden: int, intermediate: int, talker_hidden: int) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(thinker_hidden, intermediate)
        self.linear_fc2 = nn.Linear(intermediate, talker_hidden)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., thinker_hidden] → [..., talker_hidden], the dtype of the weights."""
        return self.linear_fc2(nn.functional.silu(self.linear_fc1(rows)))


@torch.inference_mode()
def project_text_table(embedding: Tensor, projection: nn.Module, chunk_rows: int = 4_096) -> Tensor:
    """The projected embedding of every text id, [vocab, talker_hidden], on `embedding`'s device.

    `embedding`: [vocab, thinker_hidden]. Projects `chunk_rows` rows at a time, so that no temporary is as
    large as the table (152k rows). ValueError for an empty table or chunk.
    """
    if chunk_rows < 1 or embedding.shape[0] == 0:
        raise ValueError("the embedding table and chunk_rows must have at least one row")
    first = projection(embedding[:chunk_rows])
    table = first.new_empty(embedding.shape[0], first.shape[-1])
    table[: first.shape[0]] = first
    for start in range(chunk_rows, embedding.shape[0], chunk_rows):
        table[start : start + chunk_rows] = projection(embedding[start : start + chunk_rows])
    return table
