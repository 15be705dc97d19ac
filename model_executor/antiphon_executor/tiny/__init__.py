"""Writes a seeded random-weight checkpoint of a served family, small enough for a laptop's CPU.

In: a path, a family, a seed. Out: a checkpoint folder as the released model's: config, weights under its
tensor names, tokenizer, processor, chat template; and `antiphon_card.json`: the weights are random.
"""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("qwen3_omni",)


def write_tiny_checkpoint(path: Path, family: str = "qwen3_omni", seed: int = 0) -> None:
    """Write the checkpoint into `path`, which is made. The same seed gives the same weights, byte by byte.

    Raises ValueError for a family that has no tiny checkpoint. Weights are float32.
    """
    if family not in FAMILIES:
        raise ValueError(f"no tiny checkpoint of family {family!r}; there are: {', '.join(FAMILIES)}")
    from antiphon_executor.tiny.qwen3_omni import write

    write(path, seed)
