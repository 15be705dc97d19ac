"""vLLM's multimodal processor for Qwen3-Omni: media → features, placeholders → token ids.

Each item gets the features that transformers' `Qwen3OmniMoeProcessor` gives for that item alone, so that
cached items can be combined. A video with sound is one item; every video keeps its own frame rate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BatchFeature
from transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import Qwen3OmniMoeProcessorKwargs
from vllm.model_executor.models.qwen3_omni_moe_thinker import (
    Qwen3OmniMoeThinkerDummyInputsBuilder,
    Qwen3OmniMoeThinkerMultiModalDataParser,
    Qwen3OmniMoeThinkerProcessingInfo,
)
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import MultiModalDataItems
from vllm.multimodal.processing import (
    BaseMultiModalProcessor,
    PromptReplacement,
    PromptUpdate,
    PromptUpdateDetails,
)

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, Frames, StoredFrames
from antiphon_executor.interface.media_geometry import patch_count
from antiphon_executor.models.qwen3_omni.positions import audio_tokens, merge_order, sound_before
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.stored_pixels import pixel_place, stored_grid
from antiphon_executor.models.thinker.video_pixels import video_pixels
from antiphon_executor.models.thinker.window_length import (
    BLOCK_FRAMES,
    LEAST_FRAMES,
    LONGEST_WINDOW_FRAMES,
)
from antiphon_executor.models.thinker.windows import (
    SoundWindow,
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
    "vllm.model_executor.models.qwen3_omni_moe_thinker.Qwen3OmniMoeThinkerProcessingInfo": (
        "_get_expected_hidden_size()",
    ),
    "vllm.model_executor.models.qwen3_omni_moe_thinker.Qwen3OmniMoeThinkerDummyInputsBuilder": (
        "_get_dummy_videos(width, height, num_frames, num_videos, overrides)",
    ),
}

VIDEO_SIZE = Qwen3OmniMoeProcessorKwargs._defaults["videos_kwargs"]["size"]
_BLOCK_TOKENS = audio_tokens(BLOCK_FRAMES)


@dataclasses.dataclass(frozen=True, slots=True)
class _WindowPlace:
    """A window's place in its video. `skipped`: rows of its mel frames before the first sound token.

    `sound_starts`, `sound_ends`: 1 if the sound's start or end token belongs to the window.
    """

    first_grid: int
    first_sound: int
    sound_tokens: int
    skipped: int
    sound_starts: int
    sound_ends: int


# The names of `_WindowPlace`'s fields among the model's arguments.
_WINDOW_FIELDS = (
    "video_first_grid", "sound_first", "sound_tokens", "sound_skip", "sound_starts", "sound_ends",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class _WindowSound:
    mel: torch.Tensor
    place: _WindowPlace


class WindowParser(SoundWindows, Qwen3OmniMoeThinkerMultiModalDataParser):
    """Upstream's, for windows of audio."""


class ThinkerProcessingInfo(Qwen3OmniMoeThinkerProcessingInfo):
    """Upstream's, except that audio and videos come in windows, videos with `VideoFacts`."""

    def get_data_parser(self) -> Qwen3OmniMoeThinkerMultiModalDataParser:
        return WindowParser(
            spatial_merge_size=self.get_hf_config().vision_config.spatial_merge_size,
            target_sr=INPUT_SAMPLE_RATE_HZ,
            target_channels=1,
            video_needs_metadata=True,
            expected_hidden_size=self._get_expected_hidden_size(),
        )

    def get_mm_max_tokens_per_item(
        self, seq_len: int, mm_counts: Mapping[str, int] | None = None
    ) -> Mapping[str, int]:
        """Of a picture, or of a window of audio or video."""
        processor = self.get_hf_processor()
        most = most_window_tokens(
            audio_tokens(LONGEST_WINDOW_FRAMES),
            processor.image_processor,
            processor.video_processor,
            VIDEO_SIZE,
        )
        return {kind: min(seq_len, most[kind]) for kind, count in (mm_counts or {}).items() if count}


class ThinkerDummyInputs(Qwen3OmniMoeThinkerDummyInputsBuilder):
    """Upstream's dummy media, with `VideoFacts` for the videos."""

    def _get_dummy_videos(self, **kwargs: Any) -> list[tuple[NDArray[np.uint8], VideoFacts]]:
        return [(frames, VideoFacts(fps=1.0)) for frames in super()._get_dummy_videos(**kwargs)]


class ThinkerProcessor(BaseMultiModalProcessor[ThinkerProcessingInfo]):
    """Computes features and placeholders item by item."""

    def _apply_hf_processor_main(
        self, mm_items: MultiModalDataItems, hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        features: dict[str, Any] = {}
        if audios := mm_items.get("audio"):
            features |= self._audio_features([audios.get(index) for index in range(audios.get_count())])
        if pictures := mm_items.get("image"):
            features |= self._picture_features([pictures.get(index) for index in range(pictures.get_count())])
        if videos := mm_items.get("video"):
            features |= self._video_features([videos.get(index) for index in range(videos.get_count())])
        return BatchFeature(features)

    @property
    def _mel_bins(self) -> int:
        return int(self.info.get_hf_config().audio_config.num_mel_bins)

    @property
    def _dtype(self) -> torch.dtype:
        """Of all features: the towers would round them anyway."""
        dtype: torch.dtype = self.info.ctx.model_config.dtype
        return dtype

    def _audio_features(self, windows: Sequence[SoundWindow]) -> dict[str, Any]:
        mels = [window.mel(self._mel_bins).to(self._dtype) for window in windows]
        return {
            "input_audio_features": torch.cat(mels, dim=1),
            "audio_feature_lengths": torch.tensor([mel.shape[1] for mel in mels]),
            "feature_attention_mask": [torch.ones(mel.shape[1]) for mel in mels],
        }

    def _picture_features(self, pictures: Sequence[Any]) -> dict[str, Any]:
        features = self.info.get_image_processor()(images=list(pictures), return_tensors="pt")
        return {
            "pixel_values": features["pixel_values"].to(self._dtype),
            "image_grid_thw": features["image_grid_thw"],
        }

    def _video_features(self, videos: Sequence[tuple[Frames, VideoFacts]]) -> dict[str, Any]:
        processor = self.info.get_hf_processor().video_processor
        pixels = [self._pixels(frames, facts) for frames, facts in videos]
        sounds = [self._window_sound(len(frames), facts) for frames, facts in videos]
        numbers = torch.tensor([dataclasses.astuple(sound.place) for sound in sounds])
        seconds = [processor.temporal_patch_size / facts["fps"] for _, facts in videos]
        return {
            "pixel_values_videos": [values for values, _ in pixels],
            "video_grid_thw": torch.stack([grid for _, grid in pixels]),
            "second_per_grid_ts": torch.tensor(seconds, dtype=torch.float64),
            "sound_features": torch.cat([sound.mel for sound in sounds], dim=1),
            "sound_lengths": torch.tensor([sound.mel.shape[1] for sound in sounds]),
            **{name: numbers[:, index] for index, name in enumerate(_WINDOW_FIELDS)},
        }

    def _pixels(self, frames: Frames, facts: VideoFacts) -> tuple[torch.Tensor, torch.Tensor]:
        """The pixel values, or the place of stored frames, and the grid."""
        processor = self.info.get_hf_processor().video_processor
        if isinstance(frames, StoredFrames):
            return pixel_place(frames, facts["size"]), stored_grid(frames, facts["size"], processor)
        # The size that `Qwen3OmniMoeProcessor` passes for videos; it overrides the checkpoint's.
        features = video_pixels(processor, frames, facts.get("size"), size=VIDEO_SIZE)
        return features["pixel_values_videos"].to(self._dtype), features["video_grid_thw"][0]

    def _window_sound(self, frames: int, facts: VideoFacts) -> _WindowSound:
        """`frames`: of the window."""
        config, sound = self.info.get_hf_config(), facts.get("sound")
        temporal = self.info.get_hf_processor().video_processor.temporal_patch_size
        step = temporal / facts["fps"] * config.position_id_per_seconds
        first_grid = facts.get("first_frame", 0) // temporal
        last_grid = first_grid + patch_count(frames, temporal)
        is_last = last_grid == patch_count(facts.get("clip_frames", frames), temporal)
        total = audio_tokens(sound.frames) if sound else 0
        first = sound_before(first_grid, step, total)
        last = total if is_last else sound_before(last_grid, step, total)
        mel, skipped = self._sound_blocks(sound, first, last)
        starts, ends = bool(total) and not first_grid, bool(total) and is_last
        return _WindowSound(mel, _WindowPlace(first_grid, first, last - first, skipped, starts, ends))

    def _sound_blocks(self, sound: Clip | None, first: int, last: int) -> tuple[torch.Tensor, int]:
        """The mel frames of the blocks of 8 s with the tokens `first` to `last`, and the rows before them."""
        if sound is None or first == last:
            return torch.zeros(self._mel_bins, 0, dtype=self._dtype), 0
        block = first // _BLOCK_TOKENS
        if block and sound.frames - block * BLOCK_FRAMES < LEAST_FRAMES:
            block -= 1
        end = min(-(-last // _BLOCK_TOKENS) * BLOCK_FRAMES, sound.frames)
        return sound.mel(self._mel_bins, block * BLOCK_FRAMES, end).to(
            self._dtype
        ), first - block * _BLOCK_TOKENS

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        batched, flat = MultiModalFieldConfig.batched, MultiModalFieldConfig.flat_from_sizes
        none = torch.zeros(0, dtype=torch.long)
        no_grid = torch.zeros(0, 3, dtype=torch.long)
        image_patches = hf_inputs.get("image_grid_thw", no_grid).prod(-1)
        return {
            "input_audio_features": flat("audio", hf_inputs.get("audio_feature_lengths", none), dim=1),
            "audio_feature_lengths": batched("audio", keep_on_cpu=True),
            "feature_attention_mask": batched("audio", keep_on_cpu=True),
            "pixel_values": flat("image", image_patches),
            "image_grid_thw": batched("image", keep_on_cpu=True),
            # Of stored frames it is where they lie, which the model reads.
            "pixel_values_videos": batched("video", keep_on_cpu=True),
            "video_grid_thw": batched("video", keep_on_cpu=True),
            "second_per_grid_ts": batched("video", keep_on_cpu=True),
            "sound_features": flat("video", hf_inputs.get("sound_lengths", none), dim=1),
            "sound_lengths": batched("video", keep_on_cpu=True),
            **{name: batched("video", keep_on_cpu=True) for name in _WINDOW_FIELDS},
        }

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, Any],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        config = self.info.get_hf_config()
        merge = config.vision_config.spatial_merge_size

        def audio(index: int) -> list[int]:
            length = out_mm_kwargs["audio"][index]["audio_feature_lengths"].data
            return [config.audio_token_id] * audio_tokens(int(length))

        def picture(index: int) -> list[int]:
            grid = out_mm_kwargs["image"][index]["image_grid_thw"].data
            return [config.image_token_id] * (int(grid.prod()) // merge**2)

        def video(index: int) -> PromptUpdateDetails:
            item = {field: element.data for field, element in out_mm_kwargs["video"][index].items()}
            time, height, width = item["video_grid_thw"].tolist()
            grid = (time, height // merge, width // merge)
            step = float(item["second_per_grid_ts"]) * config.position_id_per_seconds
            place = _WindowPlace(*(int(item[name]) for name in _WINDOW_FIELDS))
            return _video_tokens(config, grid, step, place)

        return [
            PromptReplacement("audio", [config.audio_token_id], audio),
            PromptReplacement("image", [config.image_token_id], picture),
            PromptReplacement("video", [config.video_token_id], video),
        ]


def _video_tokens(
    config: Any, grid: tuple[int, int, int], time_step: float, place: _WindowPlace
) -> PromptUpdateDetails:
    """The tokens of one window; with sound, merged by time, between the sound's start and end tokens."""
    seen = grid[0] * grid[1] * grid[2]
    order = merge_order(grid, time_step, place.sound_tokens, place.first_grid, place.first_sound)
    tokens = np.where(order < seen, config.video_token_id, config.audio_token_id).tolist()
    starts = [config.audio_start_token_id] if place.sound_starts else []
    ends = [config.audio_end_token_id] if place.sound_ends else []
    return PromptUpdateDetails.select_token_ids(
        [*starts, *tokens, *ends], [config.video_token_id, config.audio_token_id]
    )
