"""Windows of long media: each is one item of the prompt, encoded and freed by itself.

All windows of a clip give the tokens, positions and rows of the whole: audio towers attend within blocks of
8 s, vision towers within a frame, and a window knows its place in the clip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from vllm.multimodal.parse import AudioProcessorItems, MultiModalDataParser

from antiphon_executor.interface.media import AudioClip, Frames, RgbImage, StoredFrames, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.window_length import BLOCK_S, LEAST_FRAMES, WINDOW_S

# Of a window with several patches in time, which a step encodes at once. A CPU takes about half a second for
# as many. Two frames of 1280 x 704 have 880 tokens.
WINDOW_VIDEO_TOKENS = 1_024
ENCODER_CACHE_TOKENS = 4 * 2_048


@dataclass(frozen=True, slots=True)
class SoundWindow:
    """Mel frames `first` to `stop` of a clip."""

    clip: Clip
    first: int
    stop: int

    @classmethod
    def whole(cls, samples: NDArray[np.float32]) -> SoundWindow:
        clip = Clip(AudioClip(samples))
        return cls(clip, 0, clip.frames)

    def mel(self, mel_bins: int) -> Tensor:
        return self.clip.mel(mel_bins, self.first, self.stop)


class VideoFacts(TypedDict):
    """Passed through vLLM with a video's frames.

    `sound`: of the whole video. Of a window: its `first_frame` in a video of `clip_frames`. `size`: (height,
    width) to which the video's frames are resized; of a window, and of stored frames.
    """

    fps: float
    sound: NotRequired[Clip]
    first_frame: NotRequired[int]
    clip_frames: NotRequired[int]
    size: NotRequired[tuple[int, int]]


VideoWindow = tuple[Frames, VideoFacts]


def sound_windows(clip: Clip) -> list[SoundWindow]:
    """The windows of a clip, in order."""
    size = clip.window_frames
    cuts = list(range(size, clip.frames - LEAST_FRAMES + 1, size))
    return [
        SoundWindow(clip, first, stop) for first, stop in zip([0, *cuts], [*cuts, clip.frames], strict=True)
    ]


def video_windows(video: VideoClip, sound: Clip | None, geometry: MediaGeometry) -> list[VideoWindow]:
    """The windows of a video and its sound, in order, each of whole temporal patches."""
    frames, size = video.frames, video.frames.shape[1:3]
    step = geometry.temporal * _patches_per_window(video, geometry)
    facts = VideoFacts(fps=float(video.frames_per_second))
    if sound is not None:
        facts["sound"] = sound
    resized = geometry.video.fit(len(frames), *size)
    if len(frames) <= step:
        if isinstance(frames, StoredFrames):
            facts["size"] = resized
        return [(_cut(frames, 0, len(frames)), facts)]
    return [
        (
            _cut(frames, first, first + step),
            VideoFacts(**facts, first_frame=first, clip_frames=len(frames), size=resized),
        )
        for first in range(0, len(frames), step)
    ]


def _cut(frames: Frames, first: int, stop: int) -> Frames:
    if isinstance(frames, StoredFrames):
        return frames.part(first, stop)
    return np.ascontiguousarray(frames[first:stop])


def _patches_per_window(video: VideoClip, geometry: MediaGeometry) -> int:
    """Patches whose tokens and seconds are within the limits, if possible a multiple of 8 s."""
    each = geometry.frame_tokens(len(video.frames), video.frames.shape[1:3])
    patches_per_s = video.frames_per_second / geometry.temporal
    most = max(1, min(WINDOW_VIDEO_TOKENS // each, int(WINDOW_S * patches_per_s)))
    per_block = BLOCK_S * patches_per_s
    if per_block.is_integer() and most >= per_block:
        most -= most % int(per_block)
    return most


def most_window_tokens(
    audio_tokens: int, image_processor: Any, video_processor: Any, video_size: Mapping[str, int]
) -> dict[str, int]:
    """The most tokens of an item of each kind. `audio_tokens`: of a clip of `LONGEST_WINDOW_FRAMES`.

    vLLM gives its encoder cache the size of the longest item, which is at least the windows of two steps: a
    full cache ends a step before a window, where a hybrid model keeps no state for later prompts.
    """
    picture = int(image_processor.size["longest_edge"]) // _token_pixels(image_processor)
    patch = int(video_size["longest_edge"]) // _token_pixels(video_processor)
    return {
        "audio": audio_tokens,
        "image": picture,
        "video": most_video_tokens(patch, audio_tokens),
    }


def most_video_tokens(patch_tokens: int, audio_tokens: int) -> int:
    """Of a window of video and its sound. `patch_tokens`: of the largest pair of frames."""
    return max(WINDOW_VIDEO_TOKENS, patch_tokens, ENCODER_CACHE_TOKENS) + audio_tokens


def _token_pixels(processor: Any) -> int:
    return (int(processor.patch_size) * int(processor.merge_size)) ** 2


def image_key(image: RgbImage) -> str:
    """The cache key of an image."""
    pixels = np.ascontiguousarray(image.pixels)
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=20)
    digest.update(pixels.data)
    return f"image-{digest.hexdigest()}"


def sound_keys(windows: Sequence[SoundWindow]) -> list[str]:
    """The cache keys of the windows of one clip."""
    key = windows[0].clip.key()
    return [f"audio-{key}-{window.first}-{window.stop}" for window in windows]


def video_keys(windows: Sequence[VideoWindow]) -> list[str]:
    """The cache keys of the windows of one video."""
    _, facts = windows[0]
    digest = hashlib.blake2b(repr((facts["fps"], facts.get("size"))).encode(), digest_size=20)
    if "sound" in facts:
        digest.update(f"{facts['sound'].key()} {facts['sound'].frames}".encode())
    for frames, _ in windows:
        digest.update(repr(frames.shape).encode())
        digest.update(frames.path.name.encode() if isinstance(frames, StoredFrames) else frames.data)
    return [f"video-{digest.hexdigest()}-{facts.get('first_frame', 0)}" for _, facts in windows]


class SoundWindowItems(AudioProcessorItems):
    """Windows whose hash, where a prompt gives no key, is made of the clip's key."""

    def get_item_for_hash(self, index: int) -> str:
        [key] = sound_keys([cast(SoundWindow, self.get(index))])
        return key


class SoundWindows(MultiModalDataParser):
    """A data parser that takes windows of clips as audio, and arrays as whole clips."""

    def _parse_audio_data(self, data: Any) -> SoundWindowItems:
        return SoundWindowItems(
            [item if isinstance(item, SoundWindow) else SoundWindow.whole(item) for item in data]
        )
