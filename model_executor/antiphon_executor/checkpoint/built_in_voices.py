"""Built-in voices of a Qwen3.5-Omni checkpoint: named by its config, with codec frames in one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.checkpoint.tensors import read_tensor
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.models.architectures import SPEAKER_CODES
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig


@dataclass(frozen=True, slots=True, eq=False)
class BuiltInVoice:
    """`text_ids`: of its system prompt, before its frames; `codes`: int64 [frames, groups]."""

    name: str
    text_ids: tuple[int, ...]
    codes: NDArray[np.int64]


def built_in_voices(
    checkpoint: Path, config: Qwen3_5OmniMoeConfig, codebook_sizes: NDArray[np.int64]
) -> dict[str, BuiltInVoice]:
    """By id, which is the name in lower case. Raises `OperatorError` if config and tensor do not fit."""
    talker = config.talker_config
    rows: dict[str, int] = talker.speaker_id or {}
    if not rows:
        return {}
    table = read_tensor(checkpoint, SPEAKER_CODES)
    if table is None:
        raise OperatorError(f"talker_config has speaker_id, but the weights hold no {SPEAKER_CODES}")
    codes = _frames_last(table.numpy(), len(codebook_sizes))
    prompts: dict[str, int | list[int]] = talker.speaker_system_prompt_id or {}
    found = {}
    for name, row in sorted(rows.items()):
        if not 0 <= row < len(codes):
            raise OperatorError(f"the voice {name} is row {row} of {SPEAKER_CODES}, which has {len(codes)}")
        frames = codes[row]
        # Shorter voices are padded with -1.
        frames = frames[(frames >= 0).all(axis=1)]
        if (frames >= codebook_sizes).any():
            raise OperatorError(f"the voice {name} has codes that are not below {codebook_sizes.tolist()}")
        text = prompts.get(name, [])
        text_ids = tuple(text) if isinstance(text, list) else (text,)
        found[name.lower()] = BuiltInVoice(name, text_ids, frames)
    return found


def _frames_last(codes: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """[speakers, groups, frames], as checkpoints have it, or [speakers, frames, groups], to the latter."""
    if codes.ndim == 3 and codes.shape[1] == groups:
        return codes.transpose(0, 2, 1)
    if codes.ndim == 3 and codes.shape[2] == groups:
        return codes
    raise OperatorError(f"{SPEAKER_CODES} has the shape {list(codes.shape)}; the model has {groups} groups")
