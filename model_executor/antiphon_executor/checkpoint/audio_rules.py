"""How a checkpoint's family counts the tokens of audio."""

from __future__ import annotations

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.interface.audio_geometry import AudioGeometry


def audio_geometry_of(config: PreTrainedConfig) -> AudioGeometry:
    audio = config.thinker_config.audio_config
    if family_of(config) is QWEN3_5_OMNI:
        return AudioGeometry.of(audio)
    return AudioGeometry(window_frames=2 * audio.n_window, halvings=3)
