"""Tiny checkpoints with random weights, for tests and trials on a laptop's CPU.

In: a path, a family, a seed. Out: a checkpoint folder like the released model's, whose `antiphon_card.json`
marks its weights as random. Imports `reference`, `checkpoint`, `models`.
"""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("qwen3_omni", "qwen3_5_omni")
LAYOUTS = ("saved", "released")
VARIANTS = ("instruct", "thinking", "captioner")
SIZES = ("tiny", "released")
_SIZED = ("qwen3_omni", "saved", "instruct")


def write_tiny_checkpoint(
    path: Path,
    family: str = "qwen3_omni",
    seed: int = 0,
    layout: str = "saved",
    variant: str = "instruct",
    sizes: str = "tiny",
) -> None:
    """Writes the checkpoint to `path`, which is created. The same seed gives the same bytes.

    Weights are float32; those of Qwen3.5-Omni are bfloat16, which its gated-DeltaNet layers need on a CPU.
    `layout`: files as transformers 5 saves them, or as Qwen3-Omni-30B-A3B-Instruct has them.
    `variant`: "thinking" and "captioner" are Qwen3-Omni without a Talker, in config and weights; prompts of
    "thinking" open `<think>`. `sizes`: "released" gives Qwen3-Omni a Talker of the released sizes below a
    narrow Thinker, in bfloat16 and in shards; only one shard is in memory.
    Raises ValueError for an unknown family, layout, variant or size.
    """
    if variant not in VARIANTS or (variant != "instruct" and family != "qwen3_omni"):
        known = ", ".join(VARIANTS)
        raise ValueError(f"there is no variant {variant!r} of {family!r}; variants of qwen3_omni: {known}")
    if sizes not in SIZES or (sizes == "released" and (family, layout, variant) != _SIZED):
        raise ValueError(
            f"sizes are {', '.join(SIZES)}; released sizes are for qwen3_omni, layout saved, variant instruct"
        )
    if layout not in LAYOUTS:
        raise ValueError(f"there is no layout {layout!r}; layouts: {', '.join(LAYOUTS)}")
    match family:
        case "qwen3_omni":
            from antiphon_executor.tiny import qwen3_omni

            qwen3_omni.write(path, seed, variant, sizes)
            if layout == "released":
                from antiphon_executor.tiny import released_layout

                released_layout.rewrite(path)
        case "qwen3_5_omni":
            from antiphon_executor.tiny import qwen3_5_omni

            if layout == "released":
                raise ValueError("no checkpoint of qwen3_5_omni is released, so it has no released layout")
            qwen3_5_omni.write(path, seed)
        case _:
            raise ValueError(
                f"there is no tiny checkpoint of family {family!r}; families: {', '.join(FAMILIES)}"
            )
