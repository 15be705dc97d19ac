"""Videos: encoded bytes in, evenly spaced RGB frames and their sound out.

The packets are counted first, so that length, frame count and memory are known, or refused, before the frames
are decoded. Frame k is the one on screen at k / frames_per_second, exactly; a long video gets a lower rate.
"""

from __future__ import annotations

import asyncio
import math
import re
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.protocol import AudioClip, VideoClip
from antiphon_server.media.audio import AudioDecoder
from antiphon_server.media.budget import Budget
from antiphon_server.media.decoding import attempt, container_of, first_failure, is_full, refuse
from antiphon_server.media.ffmpeg import FramePlan, first_frame_argv, frames_argv, packets_argv
from antiphon_server.media.job import FfmpegJob
from antiphon_server.media.packets import PACKETS_BYTES, Packets, read_packets
from antiphon_server.media.part import Part
from antiphon_server.media.picture import frame_fit
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import Sandbox
from antiphon_server.media.sniff import Container

_PPM_HEADER = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
_PPM_HEADER_BYTES = 32
_FINEST_RATE = 1_000
_LEAD_IN_S = Fraction(1, 10)


def sampling(length_s: Fraction, wanted_fps: float, most_frames: int) -> tuple[Fraction, int]:
    """Rate and count: the wanted rate, or the highest that keeps `length_s` within `most_frames` frames."""
    rate = Fraction(wanted_fps).limit_denominator(_FINEST_RATE)
    frames = max(1, math.ceil(length_s * rate))
    if frames <= most_frames:
        return rate, frames
    # Rounded down to a multiple of 1/100,000: a rate that is short to write and never a frame too many.
    lowered = Fraction(math.floor(most_frames / length_s * 100_000), 100_000)
    return lowered, most_frames


class VideoDecoder:
    """Decodes video parts that are one file."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox, audio: AudioDecoder) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._audio = audio

    async def decode(self, part: Part, data: bytes, budget: Budget) -> VideoClip:
        """Raises BadRequest for a video that is too long or too large, damaged or of an unknown format."""
        container = container_of(data, part, "video")
        with first_failure():
            async with asyncio.TaskGroup() as group:
                listed = group.create_task(self._packets(part, data, container))
                sized = group.create_task(self._frame_size(part, data, container))
        plan = self._plan(part, listed.result(), *sized.result())
        budget.take_decoded(part, plan.frames * plan.frame_bytes)
        with first_failure():
            async with asyncio.TaskGroup() as group:
                shown = group.create_task(self._frames(part, data, container, plan))
                heard = group.create_task(
                    self._sound(part, data, container, listed.result(), plan.start, budget)
                )
        return VideoClip(shown.result(), float(plan.rate), heard.result())

    async def _packets(self, part: Part, data: bytes, container: Container) -> Packets:
        job = FfmpegJob(packets_argv(container, ("V:0", "a:0?")), PACKETS_BYTES)
        outcome = await attempt(self._sandbox, self._policy, part, job, [data])
        packets = await asyncio.to_thread(read_packets, bytes(outcome.output))
        limit = self._policy.video_seconds
        length_s = float(max(packets.end("video"), packets.end("audio")))
        if is_full(outcome, job) or length_s > limit:
            got = f"is at least {length_s:.0f} s"
            fix = "Cut the video or raise the limit."
            raise part.over(got, f"{limit:g} s", "video_seconds", fix)
        if not outcome.succeeded or not packets.has("video"):
            raise refuse(part)
        return packets

    async def _frame_size(self, part: Part, data: bytes, container: Container) -> tuple[int, int]:
        """Height and width that the frames will have."""
        fit = frame_fit(part, self._policy)
        argv = first_frame_argv(container, self._policy.video_source_pixels, fit)
        job = FfmpegJob(argv, self._policy.video_source_pixels * 3 + _PPM_HEADER_BYTES)
        outcome = await attempt(self._sandbox, self._policy, part, job, [data])
        header = _PPM_HEADER.match(bytes(outcome.output[:_PPM_HEADER_BYTES]))
        if header is None:
            raise refuse(part)
        width, height = int(header[1]), int(header[2])
        if max(width, height) > self._policy.aspect_ratio * min(width, height):
            limit = f"{self._policy.aspect_ratio:g} times as long as wide"
            raise part.over("is longer than that", limit, "aspect_ratio", "Crop it.")
        return height, width

    def _plan(self, part: Part, packets: Packets, height: int, width: int) -> FramePlan:
        source, policy = part.source, self._policy
        fps = min(source.fps or policy.video_fps, policy.video_max_fps)
        most = min(policy.video_frames, source.max_frames or policy.video_frames)
        # A track of sound that begins a little before the picture is a codec's lead-in, not time to be shown.
        start = packets.start("video")
        start = start if start < _LEAD_IN_S else Fraction(0)
        rate, frames = sampling(packets.end("video") - start, fps, most)
        return FramePlan(start, rate, frames, height, width)

    async def _frames(
        self, part: Part, data: bytes, container: Container, plan: FramePlan
    ) -> NDArray[np.uint8]:
        argv = frames_argv(container, self._policy.video_source_pixels, plan)
        job = FfmpegJob(argv, plan.frames * plan.frame_bytes)
        outcome = await attempt(self._sandbox, self._policy, part, job, [data])
        whole = len(outcome.output) // plan.frame_bytes
        if not outcome.succeeded or whole == 0:
            raise refuse(part)
        pixels = np.frombuffer(outcome.output, dtype=np.uint8, count=whole * plan.frame_bytes)
        return pixels.reshape(whole, plan.height, plan.width, 3)

    async def _sound(
        self, part: Part, data: bytes, container: Container, packets: Packets, start: Fraction, budget: Budget
    ) -> AudioClip | None:
        if not part.source.hear_sound or not packets.has("audio"):
            return None
        length = packets.end("audio") - start
        return await self._audio.decode_sound_of_video(part, data, container, start, length, budget)
