"""Videos: encoded bytes in, evenly spaced RGB frames and their sound out.

A long video gets a lower frame rate; what is longer than the policy allows is refused before it is decoded.
"""

from __future__ import annotations

import asyncio
import math

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, VideoClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.audio import SAMPLE_BYTES, bounded, most_packets
from antiphon_server.media.decode.decoding import Output, decode, format_of
from antiphon_server.media.decode.refusals import damaged
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Found, Report, Size, VideoJob
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing

# Between the frames and the sound in a decoder's output.
_GAP_BYTES = 16


class VideoDecoder:
    """Decodes video parts that are one file. `sizing` says how large the frames become."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox, sizing: Sizing) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._sizing = sizing

    async def decode(self, part: Part, data: bytes, budget: Budget) -> VideoClip:
        """Raises BadRequest for a video that is too long or too large, damaged or of an unknown format."""
        agreed: list[tuple[Found, Size]] = []

        def ask(found: Found) -> Size:
            size = self._sizing.frame(part, found)
            budget.take_decoded(part, self._sizing.video_bytes(found, size))
            if found.samples:
                budget.take_audio(part, found.samples / INPUT_SAMPLE_RATE_HZ)
            agreed.append((found, size))
            return size

        job = self._job(part, data, budget)
        report, output = await decode(self._sandbox, self._policy, part, job, [data], ask)
        if not agreed or not _keeps_to(report, *agreed[0], len(output)):
            raise damaged(part)
        frames = _frames(report, output)
        sound = (
            AudioClip(await asyncio.to_thread(bounded, _samples(report, output))) if report.samples else None
        )
        return VideoClip(frames, report.rate_numerator / report.rate_denominator, sound)

    def _job(self, part: Part, data: bytes, budget: Budget) -> VideoJob:
        source, policy = part.source, self._policy
        container = format_of(data, part, "video")
        return VideoJob(
            demuxer=container.demuxer,
            decoders=container.decoders,
            use_audio=source.use_audio,
            most_seconds=policy.video_seconds,
            most_packets=most_packets(policy.video_seconds),
            fps=min(source.fps or policy.video_fps, policy.video_max_fps),
            most_frames=min(policy.video_frames, source.max_frames or policy.video_frames),
            source_pixels=policy.video_source_pixels,
            aspect_ratio=policy.aspect_ratio,
            output_bytes=budget.decoded_bytes_left + _GAP_BYTES,
        )


def _keeps_to(report: Report, found: Found, size: Size, output_bytes: int) -> bool:
    """Whether a decoder's report fits what was agreed and what it wrote."""
    end_of_frames = report.frames * size.height * size.width * 3
    end_of_sound = report.sound_at + report.samples * SAMPLE_BYTES if report.samples else 0
    return (
        0 < report.frames <= found.frames
        and report.samples <= found.samples
        and (report.height, report.width) == (size.height, size.width)
        and report.rate_numerator > 0
        and max(end_of_frames, end_of_sound) <= output_bytes
    )


def _frames(report: Report, output: Output) -> NDArray[np.uint8]:
    shape = (report.frames, report.height, report.width, 3)
    return np.frombuffer(output, dtype=np.uint8, count=math.prod(shape)).reshape(shape)


def _samples(report: Report, output: Output) -> NDArray[np.float32]:
    return np.frombuffer(output, dtype="<f4", count=report.samples, offset=report.sound_at)
