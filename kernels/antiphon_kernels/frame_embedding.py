"""A code frame as the Talker's step input: the sum of its codes' embeddings, and the text row beside it.

In: the frame's codes, one stacked table for all code groups, text rows. Out: one row a frame. Holds no state.
"""

from __future__ import annotations

from torch import Tensor


def reference(codes: Tensor, table: Tensor, offsets: Tensor, text: Tensor) -> Tensor:
    """The definition.

    `codes` int64 [frames, groups], each within its group's vocabulary; `table` [sum of the vocabularies,
    hidden]; `offsets` int64 [groups], the group's first row in `table`; `text` [frames, hidden]. The codes
    are summed in float32 and rounded before the text is added. Returns [frames, hidden] in the table's
    dtype. Source: `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation`.
    """
    return table[codes + offsets].sum(dim=1) + text
