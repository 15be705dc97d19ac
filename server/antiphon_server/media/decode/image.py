"""Pictures, and videos given as a list of pictures: encoded bytes in, RGB pixels out.

Turned upright by EXIF, laid on white where transparent, first frame of an animation. A picture with a side
under one patch of the vision encoder is scaled up to it, never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import Picture, VideoClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.decoding import decode, format_of
from antiphon_server.media.decode.refusals import damaged
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Found, PictureJob, Size
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing


class PictureDecoder:
    """Decodes picture parts and frame lists, in a decoder process. `sizing` says how large they become."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox, sizing: Sizing) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._sizing = sizing

    async def decode(self, part: Part, data: bytes, budget: Budget) -> Picture:
        """Raises BadRequest for a picture that is too large, too narrow, damaged or of an unknown format."""
        pixels = await self._draw(part, [data], partial(self._agree_picture, part, budget), budget)
        return Picture(pixels[0])

    async def decode_frame_list(self, part: Part, frames: Sequence[bytes], budget: Budget) -> VideoClip:
        """A video out of pictures, all in the size of the first; spaced as the client or the policy says."""
        pixels = await self._draw(part, frames, partial(self._agree_frames, part, budget), budget)
        return VideoClip(pixels, frames_per_second=part.source.fps or self._policy.video_fps)

    def _agree_picture(self, part: Part, budget: Budget, found: Found) -> Size:
        size = self._sizing.picture(part, found)
        budget.take_decoded(part, self._sizing.picture_bytes(size))
        return size

    def _agree_frames(self, part: Part, budget: Budget, found: Found) -> Size:
        size = self._sizing.frame(part, found)
        budget.take_decoded(part, self._sizing.video_bytes(found, size))
        return size

    async def _draw(
        self, part: Part, data: Sequence[bytes], agree: Callable[[Found], Size], budget: Budget
    ) -> NDArray[np.uint8]:
        """uint8 [num_pictures, height, width, 3]."""
        job = PictureJob(
            lengths=tuple(len(encoded) for encoded in data),
            formats=tuple(format_of(encoded, part, "image").demuxer for encoded in data),
            output_bytes=budget.decoded_bytes_left + 1,
            source_pixels=self._policy.image_source_pixels,
            aspect_ratio=self._policy.aspect_ratio,
        )
        agreed: list[Size] = []

        def ask(found: Found) -> Size:
            agreed.append(agree(Found(len(data), found.height, found.width)))
            return agreed[0]

        _, output = await decode(self._sandbox, self._policy, part, job, data, ask)
        shape = (len(data), agreed[0].height, agreed[0].width, 3) if agreed else (0,)
        if len(output) != np.prod(shape, dtype=np.int64):
            raise damaged(part)
        return np.frombuffer(output, dtype=np.uint8).reshape(shape)
