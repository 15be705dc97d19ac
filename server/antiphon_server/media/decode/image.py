"""Decoder of image parts, and of videos given as a list of images: encoded bytes to RGB pixels.

Images are turned upright by EXIF; transparency becomes white; of an animation only the first frame is used.
An image with a side below one patch of the vision encoder is scaled up, not refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import RgbImage, VideoClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.decoding import detect_format, run_decode_job
from antiphon_server.media.decode.known_files import video_key
from antiphon_server.media.decode.limit_check import VideoLength, check_image, check_video
from antiphon_server.media.decode.refusals import damaged_error
from antiphon_server.media.frame_store import FrameStore, FrameWriter
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import ChooseSize, Dimensions, ImageJob, Size
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing


class ImageDecoder:
    """Decodes image parts and frame lists in a decoder process, to the size that `sizing` gives.

    Frames go to the `store`, which also knows the lists of `owner` that were decoded before.
    """

    def __init__(
        self, policy: MediaPolicy, sandbox: Sandbox, sizing: Sizing, store: FrameStore, owner: str
    ) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._sizing = sizing
        self._store = store
        self._owner = owner

    async def decode(self, part: Part, data: bytes, budget: Budget) -> RgbImage:
        """Raises BadRequest for an image that is too large, too narrow, damaged or in an unknown format."""
        choose_size = partial(self._choose_image_size, part, budget)
        pixels = await self._decode_images(part, [data], choose_size, budget)
        return RgbImage(pixels[0])

    async def decode_frame_list(self, part: Part, frames: Sequence[bytes], budget: Budget) -> VideoClip:
        """A video of the images in the size of the first, at the client's or the policy's frame rate."""
        key = await asyncio.to_thread(video_key, frames, part.source, self._owner)
        known = self._store.find(key)
        if known is not None:
            count, height, width, _ = known.frames.shape
            self._charge_frames(part, budget, Dimensions(count, height, width), Size(height, width))
            return known
        with self._store.write(part, key) as frame_file:
            choose_size = partial(self._choose_frame_size, part, budget, frame_file)
            pixels = await self._decode_images(part, frames, choose_size, budget)
            await asyncio.to_thread(frame_file.write, pixels.data.cast("B"))
            count, height, width, _ = pixels.shape
            own = part.source.fps or self._policy.video_fps
            clip = VideoClip(
                frame_file.finish((count, height, width, 3)), self._policy.video_placed_fps or own
            )
        self._store.remember(key, clip)
        return clip

    def _choose_image_size(self, part: Part, budget: Budget, dimensions: Dimensions) -> Size:
        size = self._sizing.image_size(part, dimensions)
        if budget.room is not None:
            check_image(part, budget.room.image_tokens(size.height, size.width), budget)
        budget.charge_decoded(part, self._sizing.image_bytes(size))
        return size

    def _choose_frame_size(
        self, part: Part, budget: Budget, frame_file: FrameWriter, dimensions: Dimensions
    ) -> Size:
        size = self._sizing.frame_size(part, dimensions)
        self._charge_frames(part, budget, dimensions, size)
        frame_file.reserve(self._sizing.frames_bytes(dimensions, size))
        return size

    def _charge_frames(self, part: Part, budget: Budget, dimensions: Dimensions, size: Size) -> None:
        decoded = self._sizing.frames_bytes(dimensions, size)
        if budget.room is not None:
            fps, frames = part.source.fps or self._policy.video_fps, dimensions.frames
            tokens = budget.room.video_tokens(frames, fps, (size.height, size.width), 0)
            check_video(part, VideoLength(frames, frames / fps, fps), decoded, tokens, self._policy, budget)
        # All of them are in memory until the last is decoded.
        budget.charge_decoded(part, decoded)

    async def _decode_images(
        self, part: Part, data: Sequence[bytes], choose_size: ChooseSize, budget: Budget
    ) -> NDArray[np.uint8]:
        """uint8 [num_images, height, width, 3]."""
        job = ImageJob(
            lengths=tuple(len(encoded) for encoded in data),
            formats=tuple(detect_format(encoded, part, "image").demuxer for encoded in data),
            output_bytes=budget.decoded_bytes_left + 1,
            source_pixels=self._policy.image_source_pixels,
            aspect_ratio=self._policy.aspect_ratio,
        )
        chosen: list[Size] = []

        def answer_worker(dimensions: Dimensions) -> Size:
            chosen.append(choose_size(Dimensions(len(data), dimensions.height, dimensions.width)))
            return chosen[0]

        _, output = await run_decode_job(self._sandbox, self._policy, part, job, data, answer_worker)
        shape = (len(data), chosen[0].height, chosen[0].width, 3) if chosen else (0,)
        if len(output) != np.prod(shape, dtype=np.int64):
            raise damaged_error(part)
        return np.frombuffer(output, dtype=np.uint8).reshape(shape)
