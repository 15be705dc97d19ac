"""Pictures, and videos given as a list of pictures: encoded bytes in, RGB pixels out.

Turned upright by EXIF, laid on white where transparent, first frame of an animation. A picture with a side
under `FLOOR_SIDE_PIXELS` (one patch of the vision encoder) is scaled up to it, never refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.protocol import Picture, VideoClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decoding import attempt, container_of, is_full, refuse
from antiphon_server.media.job import Fit, PictureJob, PictureReport, decode_report
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import Sandbox

FLOOR_SIDE_PIXELS = 32


def picture_fit(part: Part, policy: MediaPolicy) -> Fit:
    """The client's bounds for a picture, inside the policy's."""
    most = min(policy.image_pixels, part.source.max_pixels or policy.image_pixels)
    return Fit(min(part.source.min_pixels or 0, most), most, FLOOR_SIDE_PIXELS, 1)


def frame_fit(part: Part, policy: MediaPolicy) -> Fit:
    """The client's bounds for a frame of a video, inside the policy's; sides are even."""
    most = min(policy.video_frame_pixels, part.source.max_pixels or policy.video_frame_pixels)
    return Fit(min(part.source.min_pixels or 0, most), most, FLOOR_SIDE_PIXELS, 2)


class PictureDecoder:
    """Decodes picture parts and frame lists, in a decoder process."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox) -> None:
        self._policy = policy
        self._sandbox = sandbox

    async def decode(self, part: Part, data: bytes, budget: Budget) -> Picture:
        """Raises BadRequest for a picture that is too large, too narrow, damaged or of an unknown format."""
        pixels = await self._draw(part, [data], picture_fit(part, self._policy), budget)
        return Picture(pixels[0])

    async def decode_frame_list(self, part: Part, frames: Sequence[bytes], budget: Budget) -> VideoClip:
        """A video out of pictures, all in the size of the first; spaced as the client or the policy says."""
        pixels = await self._draw(part, frames, frame_fit(part, self._policy), budget)
        return VideoClip(pixels, frames_per_second=part.source.fps or self._policy.video_fps)

    async def _draw(self, part: Part, data: Sequence[bytes], fit: Fit, budget: Budget) -> NDArray[np.uint8]:
        """uint8 [num_pictures, height, width, 3]."""
        job = PictureJob(
            lengths=tuple(len(encoded) for encoded in data),
            formats=tuple(container_of(encoded, part, "image").demuxer for encoded in data),
            output_bytes=budget.decoded_bytes_left + 1,
            source_pixels=self._policy.image_source_pixels,
            aspect_ratio=self._policy.aspect_ratio,
            fit=fit,
        )
        outcome = await attempt(self._sandbox, self._policy, part, job, data)
        if is_full(outcome, job):
            budget.take_decoded(part, len(outcome.output))
        report = decode_report(outcome.log) if outcome.succeeded else None
        if report is None:
            raise refuse(part)
        if report.trouble is not None:
            raise self._refusal(part, report)
        shape = (len(data), report.height, report.width, 3)
        if len(outcome.output) != np.prod(shape, dtype=np.int64):
            raise refuse(part)
        budget.take_decoded(part, len(outcome.output))
        return np.frombuffer(outcome.output, dtype=np.uint8).reshape(shape)

    def _refusal(self, part: Part, report: PictureReport) -> Exception:
        where = f" in frame {report.index + 1}" if part.source.is_frame_list else ""
        size = f"{report.width} x {report.height} pixels"
        if report.trouble == "too_many_pixels":
            limit = f"{self._policy.image_source_pixels} pixels"
            return part.over(
                f"has {size}{where}", limit, "image_source_pixels", "Scale it down or raise the limit."
            )
        if report.trouble == "too_long_a_side":
            limit = f"{self._policy.aspect_ratio:g} times as long as wide"
            return part.over(f"has {size}{where}", limit, "aspect_ratio", "Crop it, or cut it into several.")
        return refuse(part)
