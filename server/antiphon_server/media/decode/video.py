"""Decoder of video parts: encoded bytes to evenly spaced RGB frames and the audio track.

A long video gets a lower frame rate; a video beyond the policy's length is refused before it is decoded.
"""

from __future__ import annotations

import asyncio
import math

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, VideoClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.audio import clip_and_pad, max_packets
from antiphon_server.media.decode.decoding import Output, detect_format, run_decode_job
from antiphon_server.media.decode.limit_check import check_video
from antiphon_server.media.decode.refusals import damaged_error
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import SAMPLE_BYTES, DecodeReport, Dimensions, Size, VideoJob
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing

# The largest gap between the frames and the audio in a decoder's output.
_GAP_BYTES = 16


class VideoDecoder:
    """Decodes video files in a decoder process, to the frame size that `sizing` gives."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox, sizing: Sizing) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._sizing = sizing

    async def decode(self, part: Part, data: bytes, budget: Budget) -> VideoClip:
        """Raises BadRequest for a video that is too long or too large, damaged or in an unknown format."""
        agreed: list[tuple[Dimensions, Size]] = []

        def choose_size(dimensions: Dimensions) -> Size:
            size = self._sizing.frame_size(part, dimensions)
            self._check_context(part, dimensions, size, budget)
            budget.charge_decoded(part, self._sizing.video_bytes(dimensions, size))
            if dimensions.samples:
                budget.charge_audio(part, dimensions.samples / INPUT_SAMPLE_RATE_HZ)
            agreed.append((dimensions, size))
            return size

        job = self._job(part, data, budget)
        report, output = await run_decode_job(self._sandbox, self._policy, part, job, [data], choose_size)
        if not agreed or not _is_consistent(report, *agreed[0], len(output)):
            raise damaged_error(part)
        frames, audio = _frames(report, output), None
        if report.samples:
            audio = AudioClip(await asyncio.to_thread(clip_and_pad, _samples(report, output)))
        fps = self._policy.video_placed_fps or report.rate_numerator / report.rate_denominator
        return VideoClip(frames, fps, audio)

    def _check_context(self, part: Part, dimensions: Dimensions, size: Size, budget: Budget) -> None:
        if budget.room is None:
            return
        # The rate that the file gets is this or, for a long one, lower: a few timestamps may be longer.
        fps = min(part.source.fps or self._policy.video_fps, self._policy.video_max_fps)
        frames, samples = dimensions.frames, dimensions.samples
        tokens = budget.room.video_tokens(frames, fps, (size.height, size.width), samples)
        seconds = max(frames / fps, samples / INPUT_SAMPLE_RATE_HZ)
        decoded = self._sizing.video_bytes(dimensions, size)
        check_video(part, seconds, decoded, tokens, self._policy, budget)

    def _job(self, part: Part, data: bytes, budget: Budget) -> VideoJob:
        source, policy = part.source, self._policy
        if source.frames is not None and source.frames > policy.video_frames:
            fix = "Ask for fewer or raise the limit."
            raise part.limit_error(
                f"asks for {source.frames} frames", f"{policy.video_frames} frames", "video_frames", fix
            )
        container = detect_format(data, part, "video")
        return VideoJob(
            demuxer=container.demuxer,
            decoders=container.decoders,
            use_audio=source.use_audio,
            max_seconds=policy.video_seconds,
            max_packets=max_packets(policy.video_seconds),
            fps=min(source.fps or policy.video_fps, policy.video_max_fps),
            # A client's own rate is kept.
            min_frames=policy.video_min_frames if source.fps is None else 1,
            max_frames=min(policy.video_frames, source.max_frames or policy.video_frames),
            frames=source.frames,
            source_pixels=policy.video_source_pixels,
            aspect_ratio=policy.aspect_ratio,
            output_bytes=budget.decoded_bytes_left + _GAP_BYTES,
        )


def _is_consistent(report: DecodeReport, dimensions: Dimensions, size: Size, output_bytes: int) -> bool:
    """Whether the report agrees with the size that the worker was given and with its output."""
    end_of_frames = report.frames * size.height * size.width * 3
    end_of_audio = report.audio_offset + report.samples * SAMPLE_BYTES if report.samples else 0
    return (
        0 < report.frames <= dimensions.frames
        and report.samples <= dimensions.samples
        and (report.height, report.width) == (size.height, size.width)
        and report.rate_numerator > 0
        and max(end_of_frames, end_of_audio) <= output_bytes
    )


def _frames(report: DecodeReport, output: Output) -> NDArray[np.uint8]:
    shape = (report.frames, report.height, report.width, 3)
    return np.frombuffer(output, dtype=np.uint8, count=math.prod(shape)).reshape(shape)


def _samples(report: DecodeReport, output: Output) -> NDArray[np.float32]:
    return np.frombuffer(output, dtype="<f4", count=report.samples, offset=report.audio_offset)
