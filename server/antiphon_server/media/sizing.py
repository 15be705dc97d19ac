"""The sizes to which images and frames are decoded, and the bytes that they need.

A size follows the limits of the policy and the client and is never larger than the model's own resize. An
image counts with the floats that the engine makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.media.context_room import ContextRoom
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.resize_bounds import ResizeBounds
from antiphon_server.media.sandbox.job import Dimensions, Size

MIN_SIDE_PIXELS = 32
_CHANNELS = 3
# One set of tokens stands for two frames, so Qwen's utilities count the pixels of a video per pair.
_FRAME_PAIR = 2
_CONTEXT_SHARE = 0.9
_FLOAT_BYTES = 4
_SAMPLE_BYTES = 4

Resize = Callable[[int, int], tuple[int, int]]


def largest_frame_bytes(policy: MediaPolicy) -> int:
    """Of a frame that is scaled down to the limits, or up to the shortest side."""
    smallest = math.ceil(MIN_SIDE_PIXELS**2 * policy.aspect_ratio)
    return _CHANNELS * max(policy.video_frame_pixels, smallest)


def image_bounds(part: Part, policy: MediaPolicy) -> ResizeBounds:
    """The client's bounds for an image, within the policy's."""
    max_pixels = min(policy.image_pixels, part.source.max_pixels or policy.image_pixels)
    return ResizeBounds(min(part.source.min_pixels or 0, max_pixels), max_pixels, MIN_SIDE_PIXELS, 1)


def frame_bounds(part: Part, policy: MediaPolicy, total_pixels: int, frames: int) -> ResizeBounds:
    """The client's bounds for each of `frames`, within the policy's; sides are even.

    `total_pixels`: of the video, counted per pair of frames.
    """
    max_pixels = min(
        policy.video_frame_pixels,
        part.source.max_pixels or policy.video_frame_pixels,
        max(_FRAME_PAIR * total_pixels // frames, MIN_SIDE_PIXELS**2),
    )
    return ResizeBounds(min(part.source.min_pixels or 0, max_pixels), max_pixels, MIN_SIDE_PIXELS, 2)


class Sizing:
    """`geometry`: the model's resize rules; None if unknown, then only the limits apply.

    `context_tokens`: of the model. One video takes at most `_CONTEXT_SHARE` of it, as in Qwen's utilities.
    """

    def __init__(
        self, policy: MediaPolicy, geometry: MediaGeometry | None, context_tokens: int | None = None
    ) -> None:
        self._policy = policy
        self._geometry = geometry
        self._context_tokens = context_tokens
        self._context_pixels: int | None = None
        if geometry is not None and context_tokens is not None:
            self._context_pixels = int(context_tokens * geometry.video.bounds.factor**2 * _CONTEXT_SHARE)

    def room(self, text_tokens: int) -> ContextRoom | None:
        """What the context leaves for the media of a request; None if the model is not known."""
        if self._geometry is None or self._context_tokens is None:
            return None
        return ContextRoom(self._geometry, self._context_tokens, text_tokens)

    def image_size(self, part: Part, dimensions: Dimensions) -> Size:
        size = _bounded_size(image_bounds(part, self._policy), dimensions)
        return size if self._geometry is None else _smaller_size(size, self._geometry.image.fit, dimensions)

    def frame_size(self, part: Part, dimensions: Dimensions) -> Size:
        total = self._total_pixels(part)
        size = _bounded_size(frame_bounds(part, self._policy, total, dimensions.frames), dimensions)
        if self._geometry is None:
            return size
        return _smaller_size(size, partial(self._geometry.video.fit, dimensions.frames), dimensions)

    def _total_pixels(self, part: Part) -> int:
        limits = (self._policy.video_total_pixels, part.source.total_pixels, self._context_pixels)
        return min(limit for limit in limits if limit is not None)

    def image_bytes(self, size: Size) -> int:
        """Memory of one image. The model's patches repeat it once per frame of a temporal patch."""
        pixels = _CHANNELS * size.height * size.width
        if self._geometry is None:
            return pixels
        height, width = self._geometry.image.fit(size.height, size.width)
        return pixels + _CHANNELS * height * width * self._geometry.temporal * _FLOAT_BYTES

    def frames_bytes(self, dimensions: Dimensions, size: Size) -> int:
        """All frames of a video, on disk. The engine makes floats of a window at a time."""
        return _CHANNELS * dimensions.frames * size.height * size.width

    def sound_bytes(self, dimensions: Dimensions) -> int:
        """Memory of the audio of a video."""
        return dimensions.samples * _SAMPLE_BYTES


def _bounded_size(bounds: ResizeBounds, dimensions: Dimensions) -> Size:
    width, height = bounds.size(dimensions.width, dimensions.height)
    return Size(height, width)


def _smaller_size(size: Size, resize: Resize, dimensions: Dimensions) -> Size:
    """The model's size if it has fewer pixels, so that the model does not resize again."""
    height, width = resize(dimensions.height, dimensions.width)
    is_final = resize(height, width) == (height, width)
    return Size(height, width) if is_final and height * width < size.height * size.width else size
