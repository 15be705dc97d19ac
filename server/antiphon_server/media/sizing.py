"""The size that pictures and frames are decoded to, and the memory that they take in the server.

In: the limits of the policy and of the client, and the model's own resize. Out: sizes, never larger than what
the model looks at; bytes of pixels and of the features that the engine makes of them. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.media.fit import Fit
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Found, Size

FLOOR_SIDE_PIXELS = 32
_CHANNELS = 3
_FLOAT_BYTES = 4
_SOUND_BYTES = 4

Resize = Callable[[int, int], tuple[int, int]]


def picture_fit(part: Part, policy: MediaPolicy) -> Fit:
    """The client's bounds for a picture, inside the policy's."""
    most = min(policy.image_pixels, part.source.max_pixels or policy.image_pixels)
    return Fit(min(part.source.min_pixels or 0, most), most, FLOOR_SIDE_PIXELS, 1)


def frame_fit(part: Part, policy: MediaPolicy) -> Fit:
    """The client's bounds for a frame of a video, inside the policy's; sides are even."""
    most = min(policy.video_frame_pixels, part.source.max_pixels or policy.video_frame_pixels)
    return Fit(min(part.source.min_pixels or 0, most), most, FLOOR_SIDE_PIXELS, 2)


class Sizing:
    """`geometry`: the model's; None where it is not known, and nothing is made smaller for it."""

    def __init__(self, policy: MediaPolicy, geometry: MediaGeometry | None) -> None:
        self._policy = policy
        self._geometry = geometry

    def picture(self, part: Part, found: Found) -> Size:
        size = _fitted(picture_fit(part, self._policy), found)
        return size if self._geometry is None else _smaller(size, self._geometry.picture.fit, found)

    def frame(self, part: Part, found: Found) -> Size:
        size = _fitted(frame_fit(part, self._policy), found)
        if self._geometry is None:
            return size
        return _smaller(size, partial(self._geometry.video.fit, found.frames), found)

    def picture_bytes(self, size: Size) -> int:
        """The model's patches repeat a picture as often as they hold frames of a video."""
        pixels = _CHANNELS * size.height * size.width
        if self._geometry is None:
            return pixels
        height, width = self._geometry.picture.fit(size.height, size.width)
        return pixels + _CHANNELS * height * width * self._geometry.temporal * _FLOAT_BYTES

    def video_bytes(self, found: Found, size: Size) -> int:
        """Of all frames, and of the sound."""
        sound = found.samples * _SOUND_BYTES
        pixels = _CHANNELS * found.frames * size.height * size.width
        if self._geometry is None:
            return pixels + sound
        height, width = self._geometry.video.fit(found.frames, size.height, size.width)
        temporal = self._geometry.temporal
        frames = -(-found.frames // temporal) * temporal
        return pixels + sound + _CHANNELS * frames * height * width * _FLOAT_BYTES


def _fitted(fit: Fit, found: Found) -> Size:
    width, height = fit.size(found.width, found.height)
    return Size(height, width)


def _smaller(size: Size, resize: Resize, found: Found) -> Size:
    """The model's size where it looks at fewer pixels, so that it will resize nothing more."""
    height, width = resize(found.height, found.width)
    is_final = resize(height, width) == (height, width)
    return Size(height, width) if is_final and height * width < size.height * size.width else size
