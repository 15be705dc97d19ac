"""vLLM's multimodal processor for Qwen3.5-Omni: media → `MediaFields`, placeholders → token ids.

Each item is processed alone, so that cached items can be combined. The prompt is as `PromptRules.expand`
writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedConfig
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_executor.models.qwen3_5_omni.media import MediaFields, MediaReader
from antiphon_executor.models.thinker.window_length import LONGEST_WINDOW_FRAMES
from antiphon_executor.models.thinker.windows import (
    SoundWindows,
    VideoFacts,
    most_window_tokens,
)

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.multimodal.processing.BaseMultiModalProcessor": (
        "_apply_hf_processor_main(mm_items, hf_kwargs)",
        "_get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)",
        "_get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)",
    ),
}

KINDS = ("audio", "image", "video")
# Dummy media for vLLM's memory profiling; the processor scales them to the checkpoint's sizes.
_DUMMY_SECONDS = 30
_DUMMY_SIDE = 1024
_DUMMY_FRAMES = 16
# The fields that are one tensor for several items, and the dimension along which they are joined.
_FLAT = {"sound_features": 1, "pixel_values": 0}


class Qwen3_5ThinkerProcessingInfo(BaseProcessingInfo):  # noqa: N801 - the family's name
    """The checkpoint's limits and media reader."""

    def get_hf_config(self) -> PreTrainedConfig:
        """The Thinker's."""
        return cast("PreTrainedConfig", self.ctx.get_hf_config().thinker_config)

    def get_data_parser(self) -> MultiModalDataParser:
        return SoundWindows(target_sr=INPUT_SAMPLE_RATE_HZ, target_channels=1, video_needs_metadata=True)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return dict.fromkeys(KINDS)

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Of a picture, or of a window of audio or video."""
        processor, geometry = self.get_hf_processor(), AudioGeometry.of(self.get_hf_config().audio_config)
        video = processor.video_processor
        most = most_window_tokens(
            geometry.tokens(LONGEST_WINDOW_FRAMES), processor.image_processor, video, video.size
        )
        return {kind: min(seq_len, most[kind]) for kind, count in mm_counts.items() if count}

    @cached_property
    def reader(self) -> MediaReader:
        processor, tokenizer = self.get_hf_processor(), self.get_tokenizer()
        return MediaReader(
            self.get_hf_config(),
            lambda text: tokenizer.encode(text, add_special_tokens=False),
            processor.image_processor,
            processor.video_processor,
            self.ctx.model_config.dtype,
        )


class Qwen3_5ThinkerDummyInputs(BaseDummyInputsBuilder[Qwen3_5ThinkerProcessingInfo]):  # noqa: N801 - the family's name
    """Dummy media for vLLM's memory profiling; they are processed in about a second."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        tokens = [
            token for kind in KINDS for token in self.info.reader.placeholder(kind) * mm_counts.get(kind, 0)
        ]
        return "".join(self.info.get_tokenizer().convert_ids_to_tokens(tokens))

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        video = np.full((_DUMMY_FRAMES, _DUMMY_SIDE, _DUMMY_SIDE, 3), 255, dtype=np.uint8)
        dummies = {
            "audio": np.zeros(_DUMMY_SECONDS * INPUT_SAMPLE_RATE_HZ, dtype=np.float32),
            "image": Image.new("RGB", (_DUMMY_SIDE, _DUMMY_SIDE), color=255),
            "video": (video, VideoFacts(fps=1.0)),
        }
        return {kind: [dummies[kind]] * mm_counts.get(kind, 0) for kind in KINDS}


class Qwen3_5ThinkerProcessor(BaseMultiModalProcessor[Qwen3_5ThinkerProcessingInfo]):  # noqa: N801 - the family's name
    """Computes fields and tokens item by item."""

    def _apply_hf_processor_main(
        self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        reader = self.info.reader
        fields: dict[str, Any] = {}
        for kind, items in mm_items.items():
            parts: list[MediaFields] = []
            for item in (items.get(index) for index in range(items.get_count())):
                if kind == "audio":
                    parts.append(reader.audio(item))
                elif kind == "image":
                    parts.append(reader.picture(item))
                else:
                    parts.append(reader.video(*item))
            fields |= _joined(parts)
        return BatchFeature(fields)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        batched, flat = MultiModalFieldConfig.batched, MultiModalFieldConfig.flat_from_sizes

        def sizes(name: str) -> Tensor:
            return torch.tensor([int(extent.prod()) for extent in hf_inputs.get(name, ())], dtype=torch.long)

        return {
            # Not joined: hours of audio would be copied.
            "input_audio_features": batched("audio"),
            "audio_feature_lengths": batched("audio", keep_on_cpu=True),
            "audio_first_frame": batched("audio", keep_on_cpu=True),
            "pixel_values": flat("image", sizes("image_grid_thw")),
            "image_grid_thw": batched("image", keep_on_cpu=True),
            # Of stored frames it is where they lie, which the model reads.
            "pixel_values_videos": batched("video", keep_on_cpu=True),
            "video_grid_thw": batched("video", keep_on_cpu=True),
            "video_frames": batched("video", keep_on_cpu=True),
            "video_fps": batched("video", keep_on_cpu=True),
            "video_patches": batched("video", keep_on_cpu=True),
            "sound_features": flat("video", sizes("sound_lengths"), dim=1),
            "sound_lengths": batched("video", keep_on_cpu=True),
            "sound_frames": batched("video", keep_on_cpu=True),
            "sound_first": batched("video", keep_on_cpu=True),
            "sound_skip": batched("video", keep_on_cpu=True),
            "sound_mask": batched("video", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        reader = self.info.reader
        ids = self.info.get_hf_config()
        media = [ids.audio_token_id, ids.image_token_id, ids.video_token_id]

        def fields(kind: str, index: int) -> MediaFields:
            return cast(
                "MediaFields", {name: field.data for name, field in out_mm_kwargs[kind][index].items()}
            )

        def placeholder(kind: str) -> Callable[[int], list[int]]:
            return lambda index: reader.placeholder(kind, fields(kind, index))

        def written(kind: str) -> Callable[[int], PromptUpdateDetails]:
            return lambda index: PromptUpdateDetails.select_token_ids(
                reader.tokens(kind, fields(kind, index)), media
            )

        return [PromptReplacement(kind, placeholder(kind), written(kind)) for kind in mm_items]


def _joined(items: Sequence[MediaFields]) -> dict[str, Any]:
    """Joins the fields of several items of a kind; `_get_mm_fields_config` says how to split them."""
    fields: dict[str, Any] = {}
    for name in items[0] if items else ():
        parts = [cast("Mapping[str, Tensor]", item)[name] for item in items]
        if name in _FLAT:
            fields[name] = parts[0] if len(parts) == 1 else torch.cat(parts, dim=_FLAT[name])
        else:
            fields[name] = parts
    return fields
