"""One medium of a turn → its features for the Qwen3.5-Omni Thinker, and its tokens in the prompt.

In: samples, a picture, frames with `VideoFacts`. Out: `MediaFields`, which the model gets as keyword arguments,
each item's as if it were alone; and token ids, as `PromptRules` writes them. Knows nothing of vLLM's caches.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class VideoFacts(TypedDict):
    """What goes with a video's frames: their spacing, and the samples of its sound where it is to be heard."""

    fps: float
    sound: NotRequired[NDArray[np.float32]]


class AudioFields(TypedDict):
    """`input_audio_features`: float32 [mel bins, frames], log-mel. `audio_feature_lengths`: int64 [], frames."""

    input_audio_features: Tensor
    audio_feature_lengths: Tensor


class PictureFields(TypedDict):
    """`pixel_values`: [patches, channels * temporal * patch²]. `image_grid_thw`: int64 [3], in patches."""

    pixel_values: Tensor
    image_grid_thw: Tensor


class VideoFields(TypedDict):
    """A video with its sound is one item, whose rows in the prompt are of two kinds.

    `pixel_values_videos`: [patches, channels * temporal * patch²]. `video_grid_thw`: int64 [3], in patches.
    `video_frames`: int64 [], as they came, before the last is repeated. `video_fps`: float64 [].
    `sound_features`: float32 [mel bins, frames], none where it is silent; `sound_lengths`: int64 [], frames.
    `sound_mask`: bool [video tokens + sound tokens]: of the item's media tokens in the order of the prompt,
    which are sound. So the item's embeddings are `rows[~sound_mask] = seen; rows[sound_mask] = heard`.
    """

    pixel_values_videos: Tensor
    video_grid_thw: Tensor
    video_frames: Tensor
    video_fps: Tensor
    sound_features: Tensor
    sound_lengths: Tensor
    sound_mask: Tensor


MediaFields = AudioFields | PictureFields | VideoFields
