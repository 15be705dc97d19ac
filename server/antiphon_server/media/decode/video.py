"""Decoder of video parts: encoded bytes to evenly spaced RGB frames in a file, and the audio track.

Frames and audio come in pieces, so that memory does not grow with the length of a video. A long video gets a
lower frame rate; a video beyond the policy's length is refused before it is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from antiphon_executor.interface.media import (
    INPUT_SAMPLE_RATE_HZ,
    AudioClip,
    ClipWriter,
    StoredClip,
    VideoClip,
)
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.audio import PIECE_SAMPLES, ClipIntake, max_packets
from antiphon_server.media.decode.decoding import detect_format, run_decode_job
from antiphon_server.media.decode.known_files import video_key
from antiphon_server.media.decode.limit_check import VideoLength, check_video
from antiphon_server.media.decode.refusals import damaged_error
from antiphon_server.media.frame_store import FrameStore, FrameWriter
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import SAMPLE_BYTES, DecodeReport, Dimensions, Size, VideoJob
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing, largest_frame_bytes

# Three frames of 1280 x 720 pixels.
_PIECE_BYTES = 8 << 20
# A video that the engine reads while it is decoded has at least this length.
READ_AHEAD_S = 45.0


@dataclass(frozen=True, slots=True)
class VideoStart:
    """A video that begins to be decoded. `video`: without its sound of `samples`, whose key is `key`."""

    video: VideoClip
    key: str
    samples: int
    seconds: float


class FrameReader(Protocol):
    """Reads a video while it is decoded. `writer` takes its sound."""

    @property
    def writer(self) -> ClipWriter: ...

    def frames_written(self, frames: int) -> None: ...


BeginVideo = Callable[[VideoStart], FrameReader]


class VideoDecoder:
    """Decodes video files in a decoder process, to the frame size that `sizing` gives.

    Frames go to the `store`, which also knows the videos of `owner` that were decoded before; audio goes to a
    new `writer` while it is decoded. A long video is read ahead by what `begin_reading` begins.
    """

    def __init__(
        self,
        policy: MediaPolicy,
        sandbox: Sandbox,
        sizing: Sizing,
        store: FrameStore,
        writer: Callable[[], ClipWriter],
        owner: str,
        begin_reading: BeginVideo | None = None,
    ) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._sizing = sizing
        self._store = store
        self._writer = writer
        self._owner = owner
        self._begin_reading = begin_reading

    async def decode(self, part: Part, data: bytes, budget: Budget) -> VideoClip:
        """Raises BadRequest for a video that is too long or too large, damaged or in an unknown format."""
        key = await asyncio.to_thread(video_key, (data,), part.source, self._owner)
        known = self._store.find(key)
        if known is not None:
            frames, height, width, _ = known.frames.shape
            samples = known.audio.num_samples if known.audio else 0
            # Frames that are placed at a rate of the operator's do not show how long their video was.
            is_placed = self._policy.video_placed_fps is not None
            seconds = frames / (self._wanted_fps(part) if is_placed else known.frames_per_second)
            dimensions = Dimensions(frames, height, width, samples, seconds)
            self._charge(part, dimensions, Size(height, width), budget)
            return known
        with self._store.write(part, key) as frame_file:
            clip = await self._decode_file(part, data, key, frame_file, budget)
        self._store.remember(key, clip)
        return clip

    async def _decode_file(
        self, part: Part, data: bytes, key: str, frame_file: FrameWriter, budget: Budget
    ) -> VideoClip:
        intakes: list[_Intake] = []

        def choose_size(dimensions: Dimensions) -> Size:
            size = self._sizing.frame_size(part, dimensions)
            self._charge(part, dimensions, size, budget)
            frame_file.reserve(self._sizing.frames_bytes(dimensions, size))
            reading = self._begin_ahead(dimensions, size, key, frame_file)
            writer = reading.writer if reading else self._writer()
            # The sound is charged with the frames.
            sound = ClipIntake(part, writer, dimensions.samples, Budget(self._policy))
            intakes.append(_Intake(dimensions, size, frame_file, budget, sound, reading))
            return size

        async def take_frames(pixels: bytes) -> None:
            await intakes[0].take_frames(pixels)

        async def take_samples(samples: bytes) -> None:
            await intakes[0].sound.take_piece(samples)

        job = self._job(part, data)
        report, _ = await run_decode_job(
            self._sandbox, self._policy, part, job, [data], choose_size, take_samples, take_frames
        )
        if not intakes or not intakes[0].is_met(report):
            raise damaged_error(part)
        audio: AudioClip | StoredClip | None = None
        if report.samples:
            audio = await intakes[0].sound.finish(key)
        frames = frame_file.finish((report.frames, report.height, report.width, 3))
        return VideoClip(frames, self._placed_fps(report), audio)

    def _begin_ahead(
        self, found: Dimensions, size: Size, key: str, frame_file: FrameWriter
    ) -> FrameReader | None:
        if self._begin_reading is None or found.seconds < READ_AHEAD_S or not found.rate_numerator:
            return None
        frames = frame_file.share((found.frames, size.height, size.width, 3))
        if frames is None:
            return None
        video = VideoClip(frames, self._placed_fps(found))
        return self._begin_reading(VideoStart(video, key, found.samples, found.seconds))

    def _placed_fps(self, found: Dimensions | DecodeReport) -> float:
        return self._policy.video_placed_fps or found.rate_numerator / found.rate_denominator

    def _charge(self, part: Part, dimensions: Dimensions, size: Size, budget: Budget) -> None:
        """Charges frames and audio to the request. Raises BadRequest for more than a limit or the context."""
        frames, samples = dimensions.frames, dimensions.samples
        frames_bytes = self._sizing.frames_bytes(dimensions, size)
        sound_bytes = self._sizing.sound_bytes(dimensions)
        tokens = 0
        if budget.room is not None:
            wanted_fps = self._wanted_fps(part)
            # Another number than this rate gives is the client's own, or that of a long or a short video.
            is_usual = 0 <= frames - dimensions.seconds * wanted_fps < 1 or not dimensions.seconds
            fps = wanted_fps if is_usual else frames / dimensions.seconds
            placed_fps = self._policy.video_placed_fps or fps
            tokens = budget.room.video_tokens(frames, placed_fps, (size.height, size.width), samples)
            sound_s = samples / INPUT_SAMPLE_RATE_HZ
            length = VideoLength(frames, max(dimensions.seconds, sound_s), wanted_fps, sound_s)
            check_video(part, length, frames_bytes + sound_bytes, tokens, self._policy, budget)
        budget.progress.expect(dimensions.seconds, tokens)
        budget.charge_stored(part, frames_bytes)
        if samples:
            budget.charge_decoded(part, sound_bytes)
            budget.charge_audio(part, samples / INPUT_SAMPLE_RATE_HZ)

    def _wanted_fps(self, part: Part) -> float:
        return min(part.source.fps or self._policy.video_fps, self._policy.video_max_fps)

    def _job(self, part: Part, data: bytes) -> VideoJob:
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
            fps=self._wanted_fps(part),
            # A client's own rate is kept.
            min_frames=policy.video_min_frames if source.fps is None else 1,
            max_frames=min(policy.video_frames, source.max_frames or policy.video_frames),
            frames=source.frames,
            source_pixels=policy.video_source_pixels,
            aspect_ratio=policy.aspect_ratio,
            output_bytes=max(_PIECE_BYTES, largest_frame_bytes(policy), PIECE_SAMPLES * SAMPLE_BYTES),
            piece_samples=PIECE_SAMPLES,
            piece_bytes=_PIECE_BYTES,
        )


@dataclass(frozen=True, slots=True)
class _Intake:
    """Takes what a worker decodes. `found`, `size`: what it found, and the size that it was given.

    `reading`: if the video is read ahead.
    """

    found: Dimensions
    size: Size
    frame_file: FrameWriter
    budget: Budget
    sound: ClipIntake
    reading: FrameReader | None

    async def take_frames(self, pixels: bytes) -> None:
        await asyncio.to_thread(self.frame_file.write, pixels)
        frame_bytes = self.size.height * self.size.width * 3
        self.budget.progress.add(len(pixels) * self.found.seconds / (self.found.frames * frame_bytes))
        if self.reading is not None:
            self.reading.frames_written(self.frame_file.written_bytes // frame_bytes)

    def is_met(self, report: DecodeReport) -> bool:
        """Whether the report agrees with this and with the frames and the sound that came."""
        size = self.size
        return (
            0 < report.frames <= self.found.frames
            and report.samples == self.sound.received <= self.found.samples
            and (report.height, report.width) == (size.height, size.width)
            and report.rate_numerator > 0
            and self.frame_file.written_bytes == report.frames * size.height * size.width * 3
        )
