"""A processor of the Qwen3.5-Omni family without an engine: nano's configuration, the tiny tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import BaseVideoProcessor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeProcessor
from vllm.config.multimodal import MultiModalConfig
from vllm.inputs import MultiModalInput
from vllm.multimodal.processing import InputProcessingContext

from antiphon_executor.checkpoint.processor_geometry import media_geometry_of
from antiphon_executor.interface.media import AudioClip, KnownClip, Media, RgbImage, StoredClip, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_executor.models.qwen3_5_omni.processor import (
    Qwen3_5ThinkerDummyInputs,
    Qwen3_5ThinkerProcessingInfo,
    Qwen3_5ThinkerProcessor,
)
from antiphon_executor.models.qwen3_5_omni.prompt import PromptRules
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.tokenizer import tiny_tokenizer

Sound = AudioClip | KnownClip | StoredClip
Medium = Sound | RgbImage | VideoClip


@dataclass(frozen=True)
class Rig:
    """`ids` of the prompts, the `rules` that say how they expand, and the `processor` that does it."""

    config: Any
    ids: PromptIds
    rules: PromptRules
    processor: Qwen3_5ThinkerProcessor
    transformers: Qwen3OmniMoeProcessor
    geometry: MediaGeometry

    def template(self, *parts: int | Medium) -> tuple[list[int], Media]:
        """A prompt as the server writes it: every medium's placeholder between its start and its end."""
        thinker, tokens = self.config.thinker_config, []
        for part in parts:
            if isinstance(part, Sound):
                tokens += [thinker.audio_start_token_id, self.ids.audio, thinker.audio_end_token_id]
            elif isinstance(part, int):
                tokens.append(part)
            else:
                pad = self.ids.image if isinstance(part, RgbImage) else self.ids.video
                tokens += [thinker.vision_start_token_id, pad, thinker.vision_end_token_id]
        return tokens, Media(
            audios=tuple(part for part in parts if isinstance(part, Sound)),
            images=tuple(part for part in parts if isinstance(part, RgbImage)),
            videos=tuple(part for part in parts if isinstance(part, VideoClip)),
        )

    def process(self, *parts: int | Medium, cache: Any = None) -> MultiModalInput:
        tokens, media = self.template(*parts)
        prompt = engine_prompt(OmniRequest("turn", tuple(tokens), media), self.ids, self.geometry)
        items = self.processor.info.parse_mm_data(prompt.get("multi_modal_data", {}))
        return self.processor(prompt["prompt_token_ids"], items, prompt.get("multi_modal_uuids"), cache=cache)


def rig(path: Path, dtype: torch.dtype = torch.float32, videos: BaseVideoProcessor | None = None) -> Rig:
    """`path`: an empty folder for the checkpoint's processor. `videos`: instead of the tiny one's."""
    tokenizer = tiny_tokenizer()
    config = nano(tokenizer.get_vocab())
    processor = tiny_processor(tokenizer, 30)
    processor.video_processor = videos or processor.video_processor
    processor.save_pretrained(path)
    media = MultiModalConfig(limit_per_prompt=dict.fromkeys(("audio", "image", "video"), 64))
    model_config = SimpleNamespace(
        hf_config=config,
        model=str(path),
        max_model_len=4096,
        revision=None,
        code_revision=None,
        trust_remote_code=False,
        dtype=dtype,
        multimodal_config=media,
        get_multimodal_config=lambda: media,
    )
    info = Qwen3_5ThinkerProcessingInfo(InputProcessingContext(model_config, tokenizer))
    encode = partial(tokenizer.encode, add_special_tokens=False)
    return Rig(
        config,
        PromptIds.of(config),
        PromptRules(config.thinker_config, encode),
        Qwen3_5ThinkerProcessor(info, Qwen3_5ThinkerDummyInputs(info)),
        processor,
        media_geometry_of(config, info.get_hf_processor(), encode),
    )


def clip(samples: int, seed: int = 0) -> AudioClip:
    noise = np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)
    return AudioClip(0.1 * noise)


def picture(height: int, width: int, seed: int = 0) -> RgbImage:
    return RgbImage(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def video(
    frames: int, fps: float, size: tuple[int, int] = (40, 70), sound: int | None = None, seed: int = 0
) -> VideoClip:
    """`sound`: its samples."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    return VideoClip(pixels, fps, None if sound is None else clip(sound, seed))
