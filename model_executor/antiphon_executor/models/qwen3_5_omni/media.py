"""Media items → features for the Qwen3.5-Omni Thinker (`MediaFields`), and their tokens in the prompt.

The fields reach the model as keyword arguments. An item's features do not depend on other items.
"""

from __future__ import annotations

from typing import Any, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedConfig

from antiphon_executor.models.qwen3_5_omni.log_mel import log_mel
from antiphon_executor.models.qwen3_5_omni.prompt import Encode, Medium, Picture, PromptRules, Sound, Video
from antiphon_executor.models.thinker.inputs import VideoFacts


class AudioFields(TypedDict):
    """`input_audio_features`: float32 [mel bins, frames]. `audio_feature_lengths`: int64 [], the frames."""

    input_audio_features: Tensor
    audio_feature_lengths: Tensor


class PictureFields(TypedDict):
    """`pixel_values`: [patches, channels * temporal * patch²]. `image_grid_thw`: int64 [3], in patches."""

    pixel_values: Tensor
    image_grid_thw: Tensor


class VideoFields(TypedDict):
    """A video with its sound is one item, with rows of two kinds.

    `pixel_values_videos`: [patches, channels * temporal * patch²]. `video_grid_thw`: int64 [3], in patches.
    `video_frames`: int64 [], before the last one is repeated. `video_fps`: float64 [].
    `sound_features`: float32 [mel bins, frames], 0 frames for a silent video. `sound_lengths`: int64 [].
    `sound_mask`: bool [video tokens + sound tokens], in prompt order: True for sound. A batch of masks is a
    list, or a tensor if all have the same length; iterate over it.
    """

    pixel_values_videos: Tensor
    video_grid_thw: Tensor
    video_frames: Tensor
    video_fps: Tensor
    sound_features: Tensor
    sound_lengths: Tensor
    sound_mask: Tensor


MediaFields = AudioFields | PictureFields | VideoFields


class MediaReader:
    """Reads media by a checkpoint's rules. `encode` tokenizes timestamps; pixel values are of `dtype`.

    `image_processor`, `video_processor`: the checkpoint's, of transformers (Qwen2-VL or Qwen3-VL). ValueError
    if their patches do not match the vision tower's.
    """

    def __init__(
        self,
        thinker: PreTrainedConfig,
        encode: Encode,
        image_processor: Any,
        video_processor: Any,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._ids = thinker
        self._rules = PromptRules(thinker, encode)
        self._merge = int(thinker.vision_config.spatial_merge_size)
        self._temporal = int(thinker.vision_config.temporal_patch_size)
        self._mel_bins = int(thinker.audio_config.num_mel_bins)
        self._pictures, self._videos = image_processor, video_processor
        self._dtype = dtype
        for processor in (image_processor, video_processor):
            self._check(processor)

    def audio(self, samples: NDArray[np.float32]) -> AudioFields:
        """`samples`: float32 [n] at 16 kHz."""
        mel = log_mel(samples, self._mel_bins)
        return AudioFields(input_audio_features=mel, audio_feature_lengths=torch.tensor(mel.shape[1]))

    def picture(self, picture: Image) -> PictureFields:
        features = self._pictures(images=[picture], return_tensors="pt")
        return PictureFields(
            pixel_values=features["pixel_values"].to(self._dtype),
            image_grid_thw=features["image_grid_thw"][0],
        )

    def video(self, frames: NDArray[np.uint8], facts: VideoFacts) -> VideoFields:
        """`frames`: uint8 [n, height, width, 3], RGB."""
        # Qwen3-VL's processor rejects fewer frames than one patch; a patch repeats its last frame anyway.
        filling = np.repeat(frames[-1:], max(0, self._temporal - len(frames)), axis=0)
        features = self._videos(
            videos=[np.concatenate((frames, filling)) if len(filling) else frames],
            do_sample_frames=False,
            input_data_format="channels_last",
            return_tensors="pt",
        )
        sound = facts.get("sound")
        mel = torch.zeros(self._mel_bins, 0) if sound is None else log_mel(sound, self._mel_bins)
        fields = VideoFields(
            pixel_values_videos=features["pixel_values_videos"].to(self._dtype),
            video_grid_thw=features["video_grid_thw"][0],
            video_frames=torch.tensor(len(frames)),
            video_fps=torch.tensor(facts["fps"], dtype=torch.float64),
            sound_features=mel,
            sound_lengths=torch.tensor(mel.shape[1]),
            sound_mask=torch.zeros(0, dtype=torch.bool),
        )
        tokens = torch.tensor(self.tokens("video", fields))
        heard, seen = tokens == self._ids.audio_token_id, tokens == self._ids.video_token_id
        fields["sound_mask"] = heard[heard | seen]
        return fields

    def tokens(self, kind: str, fields: MediaFields) -> list[int]:
        """The token ids that replace an item's placeholder in the prompt."""
        medium, places = self._medium(kind, fields), self.placeholder(kind)
        tokens: list[int] = self._rules.expand(places, [medium]).token_ids.tolist()
        return tokens

    def placeholder(self, kind: str) -> list[int]:
        """The token ids of an item's placeholder: one, or three for a video."""
        ids = self._ids
        if kind == "video":
            return [ids.vision_start_token_id, ids.video_token_id, ids.vision_end_token_id]
        return [ids.audio_token_id if kind == "audio" else ids.image_token_id]

    def _medium(self, kind: str, fields: MediaFields) -> Medium:
        if kind == "audio":
            return Sound(int(cast("AudioFields", fields)["audio_feature_lengths"]))
        if kind == "image":
            return Picture(self._grid(cast("PictureFields", fields)["image_grid_thw"]))
        video = cast("VideoFields", fields)
        return Video(
            frames=int(video["video_frames"]),
            fps=float(video["video_fps"]),
            grid=self._grid(video["video_grid_thw"]),
            sound_frames=int(video["sound_lengths"]),
        )

    def _grid(self, patches: Tensor) -> tuple[int, int]:
        _, height, width = patches.tolist()
        return height // self._merge, width // self._merge

    def _check(self, processor: Any) -> None:
        vision = self._ids.vision_config
        cut = (processor.patch_size, processor.merge_size, processor.temporal_patch_size)
        taken = (vision.patch_size, self._merge, self._temporal)
        if cut != taken:
            raise ValueError(
                f"{type(processor).__name__} of the checkpoint cuts (patch, merge, temporal) {cut}, "
                f"its vision tower expects {taken}"
            )
