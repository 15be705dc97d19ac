"""Writes a seeded random-weight checkpoint of a served family, small enough for a laptop's CPU.

In: a path, a family, a seed. Out: a checkpoint folder as the released model's: config, weights under its
tensor names, tokenizer, processor, chat template; and `antiphon_card.json`: the weights are random.
"""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("qwen3_omni", "qwen3_5_omni")


def write_tiny_checkpoint(path: Path, family: str = "qwen3_omni", seed: int = 0) -> None:
    """Write the checkpoint into `path`, which is made. The same seed gives the same weights, byte by byte.

    Raises ValueError for a family that has no tiny checkpoint. Weights are float32; of Qwen3.5-Omni
    bfloat16, which its gated-DeltaNet layers need on a CPU.
    """
    match family:
        case "qwen3_omni":
            from antiphon_executor.tiny import qwen3_omni

            qwen3_omni.write(path, seed)
        case "qwen3_5_omni":
            from antiphon_executor.tiny import qwen3_5_omni

            qwen3_5_omni.write(path, seed)
        case _:
            raise ValueError(f"no tiny checkpoint of family {family!r}; there are: {', '.join(FAMILIES)}")
