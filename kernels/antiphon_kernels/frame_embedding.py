"""The Talker's input row of a code frame: the sum of its codes' embeddings plus a text row.

The CPU uses the reference itself.
"""

from __future__ import annotations

from torch import Tensor


def reference(codes: Tensor, table: Tensor, offsets: Tensor, text: Tensor) -> Tensor:
    """The definition.

    `codes` int64 [frames, groups], each within its group's vocabulary; `table` [sum of the vocabularies,
    hidden]; `offsets` int64 [groups], each group's first row in `table`; `text` [frames, hidden]. The codes
    are summed in float32 and rounded before the text is added. Returns [frames, hidden] in the table's
    dtype. Source: `Qwen3OmniMoeTalkerForConditionalGeneration.prepare_inputs_for_generation`.
    """
    return table[codes + offsets].sum(dim=1) + text
