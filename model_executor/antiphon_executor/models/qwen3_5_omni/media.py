"""Media items → features for the Qwen3.5-Omni Thinker (`MediaFields`), and their tokens in the prompt.

The fields reach the model as keyword arguments. An item's features do not depend on other items.
"""

from __future__ import annotations

from typing import Any, TypedDict, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedConfig

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.interface.media import Frames, StoredFrames
from antiphon_executor.interface.media_geometry import patch_count
from antiphon_executor.models.qwen3_5_omni.prompt import Encode, Medium, Picture, PromptRules, Sound, Video
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.stored_pixels import pixel_place, stored_grid
from antiphon_executor.models.thinker.video_pixels import video_pixels
from antiphon_executor.models.thinker.window_length import BLOCK_FRAMES
from antiphon_executor.models.thinker.windows import SoundWindow, VideoFacts


class AudioFields(TypedDict):
    """`input_audio_features`: [mel bins, frames]. `audio_feature_lengths`: int64 [], the frames.

    `audio_first_frame`: int64 [], of the clip of which this is a window.
    """

    input_audio_features: Tensor
    audio_feature_lengths: Tensor
    audio_first_frame: Tensor


class PictureFields(TypedDict):
    """`pixel_values`: [patches, channels * temporal * patch²]. `image_grid_thw`: int64 [3], in patches."""

    pixel_values: Tensor
    image_grid_thw: Tensor


class VideoFields(TypedDict):
    """A video with its sound is one item, with rows of two kinds.

    `pixel_values_videos`: [patches, channels * temporal * patch²], or the place of stored frames.
    `video_grid_thw`: int64 [3], in patches. `video_frames`: int64 [], of the whole video, before the last
    one is repeated. `video_fps`: float64 []. `video_patches`: int64 [2], the first and the last + 1 of this
    window.
    `sound_features`: [mel bins, frames], the blocks of 8 s that hold the window's sound; 0 frames if
    it has none. `sound_lengths`: int64 []. `sound_frames`: int64 [], of the whole video's sound.
    `sound_first`: int64 [], the window's first sound token. `sound_skip`: int64 [], the rows of
    `sound_features` before it. `sound_mask`: bool [video tokens + sound tokens], in prompt order: True for
    sound. A batch of masks is a list, or a tensor if all have the same length; iterate over it.
    """

    pixel_values_videos: Tensor
    video_grid_thw: Tensor
    video_frames: Tensor
    video_fps: Tensor
    video_patches: Tensor
    sound_features: Tensor
    sound_lengths: Tensor
    sound_frames: Tensor
    sound_first: Tensor
    sound_skip: Tensor
    sound_mask: Tensor


MediaFields = AudioFields | PictureFields | VideoFields


class MediaReader:
    """Reads media by a checkpoint's rules. `encode` tokenizes timestamps; features are of `dtype`,
    to which the towers would round them anyway.

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
        self._block_tokens = AudioGeometry.of(thinker.audio_config).tokens(BLOCK_FRAMES)
        self._pictures, self._videos = image_processor, video_processor
        self._dtype = dtype
        for processor in (image_processor, video_processor):
            self._check(processor)

    def audio(self, window: SoundWindow) -> AudioFields:
        """ValueError for a window that is not cut as `sound_windows` cuts."""
        ends_well = window.stop % BLOCK_FRAMES == 0 or window.stop == window.clip.frames
        if window.first % BLOCK_FRAMES or not ends_well:
            raise ValueError(
                f"mel frames {window.first} to {window.stop} of {window.clip.frames} are no window: "
                f"a clip is cut at multiples of {BLOCK_FRAMES}"
            )
        mel = window.mel(self._mel_bins).to(self._dtype)
        return AudioFields(
            input_audio_features=mel,
            audio_feature_lengths=torch.tensor(mel.shape[1]),
            audio_first_frame=torch.tensor(window.first),
        )

    def picture(self, picture: Image) -> PictureFields:
        features = self._pictures(images=[picture], return_tensors="pt")
        return PictureFields(
            pixel_values=features["pixel_values"].to(self._dtype),
            image_grid_thw=features["image_grid_thw"][0],
        )

    def video(self, frames: Frames, facts: VideoFacts) -> VideoFields:
        """`frames`: of a window."""
        pixels, grid = self._pixels(frames, facts)
        sound = facts.get("sound")
        first = facts.get("first_frame", 0) // self._temporal
        video = Video(
            facts.get("clip_frames", len(frames)),
            facts["fps"],
            self._grid(grid),
            sound.frames if sound else 0,
            (first, first + patch_count(len(frames), self._temporal)),
        )
        mel, heard, skipped = self._sound(video, sound)
        tokens = torch.tensor(self._rules.window(video))
        is_sound, is_picture = tokens == self._ids.audio_token_id, tokens == self._ids.video_token_id
        return VideoFields(
            pixel_values_videos=pixels,
            video_grid_thw=grid,
            video_frames=torch.tensor(video.frames),
            video_fps=torch.tensor(video.fps, dtype=torch.float64),
            video_patches=torch.tensor(video.patches),
            sound_features=mel,
            sound_lengths=torch.tensor(mel.shape[1]),
            sound_frames=torch.tensor(video.sound_frames),
            sound_first=torch.tensor(heard),
            sound_skip=torch.tensor(skipped),
            sound_mask=is_sound[is_sound | is_picture],
        )

    def _pixels(self, frames: Frames, facts: VideoFacts) -> tuple[Tensor, Tensor]:
        """The pixel values, or their place, and the grid."""
        if isinstance(frames, StoredFrames):
            size = facts["size"]
            return pixel_place(frames, size), stored_grid(frames, size, self._videos)
        # Qwen3-VL's processor rejects fewer frames than one patch; a patch repeats its last frame anyway.
        filling = np.repeat(frames[-1:], max(0, self._temporal - len(frames)), axis=0)
        filled = np.concatenate((frames, filling)) if len(filling) else frames
        features = video_pixels(self._videos, filled, facts.get("size"))
        return features["pixel_values_videos"].to(self._dtype), features["video_grid_thw"][0]

    def _sound(self, video: Video, sound: Clip | None) -> tuple[Tensor, int, int]:
        """The mel frames of a window's sound, its first token, and the rows before that."""
        first, last = self._rules.heard(video)
        if sound is None or first == last:
            return torch.zeros(self._mel_bins, 0, dtype=self._dtype), first, 0
        blocks, skipped = divmod(first, self._block_tokens)
        until = -(-last // self._block_tokens)
        begin, end = blocks * BLOCK_FRAMES, min(until * BLOCK_FRAMES, sound.frames)
        return sound.mel(self._mel_bins, begin, end).to(self._dtype), first, skipped

    def tokens(self, kind: str, fields: MediaFields) -> list[int]:
        """The token ids that replace an item's placeholder in the prompt."""
        return self._rules.window(self._medium(kind, fields))

    def placeholder(self, kind: str, fields: MediaFields | None = None) -> list[int]:
        """The token ids of an item's placeholder: one, and a whole video's marks.

        `fields`: of a window of a video; the marks go with the first and the last one.
        """
        ids = self._ids
        if kind != "video":
            return [ids.audio_token_id if kind == "audio" else ids.image_token_id]
        starts = ends = True
        if fields is not None:
            video = cast("VideoFields", fields)
            first, last = video["video_patches"].tolist()
            starts, ends = first == 0, last == patch_count(int(video["video_frames"]), self._temporal)
        tokens = [ids.vision_start_token_id] if starts else []
        return [*tokens, ids.video_token_id, *([ids.vision_end_token_id] if ends else [])]

    def _medium(self, kind: str, fields: MediaFields) -> Medium:
        if kind == "audio":
            audio = cast("AudioFields", fields)
            return Sound(int(audio["audio_feature_lengths"]), int(audio["audio_first_frame"]))
        if kind == "image":
            return Picture(self._grid(cast("PictureFields", fields)["image_grid_thw"]))
        video = cast("VideoFields", fields)
        first, last = video["video_patches"].tolist()
        return Video(
            frames=int(video["video_frames"]),
            fps=float(video["video_fps"]),
            grid=self._grid(video["video_grid_thw"]),
            sound_frames=int(video["sound_frames"]),
            patches=(first, last),
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
