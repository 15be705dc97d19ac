"""Tiny checkpoints with random weights, for tests and trials on a laptop's CPU.

In: a path, a family, a seed. Out: a checkpoint folder like the released model's, whose `antiphon_card.json`
marks its weights as random. Imports `reference`, `checkpoint`, `models`.
"""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("qwen3_omni", "qwen3_5_omni")


def write_tiny_checkpoint(path: Path, family: str = "qwen3_omni", seed: int = 0) -> None:
    """Writes the checkpoint to `path`, which is created. The same seed gives the same bytes.

    Weights are float32; those of Qwen3.5-Omni are bfloat16, which its gated-DeltaNet layers need on a CPU.
    Raises ValueError for an unknown family.
    """
    match family:
        case "qwen3_omni":
            from antiphon_executor.tiny import qwen3_omni

            qwen3_omni.write(path, seed)
        case "qwen3_5_omni":
            from antiphon_executor.tiny import qwen3_5_omni

            qwen3_5_omni.write(path, seed)
        case _:
            raise ValueError(
                f"there is no tiny checkpoint of family {family!r}; families: {', '.join(FAMILIES)}"
            )
