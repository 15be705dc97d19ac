"""Whether a checkpoint has a Talker: Qwen3-Omni's Thinking and Captioner variants have none."""

from __future__ import annotations

from transformers import PretrainedConfig


def has_talker(config: PretrainedConfig) -> bool:
    """`config`: the whole checkpoint's, of any family."""
    return bool(getattr(config, "enable_audio_output", True))
