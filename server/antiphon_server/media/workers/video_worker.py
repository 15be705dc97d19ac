"""Video decoding in a decoder process: encoded bytes to evenly spaced RGB frames and the audio track.

The packets are counted first, so that length, frame count and size are known, or refused, before decoding.
Frame k is exactly the one on screen at k / rate; a long video gets a lower rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from antiphon_server.media.sandbox.job import (
    RATE_HZ,
    ChooseSize,
    DecodeRefused,
    DecodeReport,
    Dimensions,
    Piece,
    Size,
    VideoJob,
)
from antiphon_server.media.workers.audio_worker import AudioWriter, sample_pieces
from antiphon_server.media.workers.frame_scaler import FrameScaler, Rotation, rotation_of, upright_size
from antiphon_server.media.workers.output_file import PieceWriter
from antiphon_server.media.workers.track_file import TimeSpan, Track, TrackFile, measure_spans

_MAX_RATE_DENOMINATOR = 1_000
_LEAD_IN_S = Fraction(1, 10)


def rate_and_count(
    length_s: Fraction, wanted_fps: float, max_frames: int, min_frames: int = 1
) -> tuple[Fraction, int]:
    """Frame rate and count: the wanted rate, or the closest one that gives at least `min_frames`, at most
    `max_frames`.
    """
    rate = Fraction(wanted_fps).limit_denominator(_MAX_RATE_DENOMINATOR)
    frames = max(1, math.ceil(length_s * rate))
    count = min(max(frames, min_frames), max_frames)
    if count == frames:
        return rate, frames
    # Rounded down to a multiple of 1/100,000: a short number, and never one frame too many.
    return Fraction(math.floor(count / length_s * 100_000), 100_000), count


def _chosen_rate(length_s: Fraction, source_frames: int, job: VideoJob) -> tuple[Fraction, int]:
    """`source_frames`: of the video, whose frames are never repeated to make more."""
    if job.frames is None:
        return rate_and_count(length_s, job.fps, job.max_frames, min(job.min_frames, source_frames))
    if job.frames > source_frames:
        raise DecodeRefused("too_few_frames", frames=source_frames)
    return rate_and_count(length_s, job.fps, job.frames, job.frames)


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """The frames to keep: `frames` of one `size`, `rate` per second, from `start` seconds on."""

    start: Fraction
    rate: Fraction
    frames: int
    size: Size

    @property
    def frame_bytes(self) -> int:
        return self.size.height * self.size.width * 3

    def time_of(self, frame: int) -> Fraction:
        return self.start + frame / self.rate


class _FrameSampler:
    """Takes all decoded frames in order and passes on those that are on screen at the sampling times."""

    def __init__(
        self, track: Track, sampling: FrameSampling, rotation: Rotation, pieces: PieceWriter
    ) -> None:
        self._track = track
        self._sampling = sampling
        self._pieces = pieces
        self._scaler = FrameScaler(sampling.size, rotation)
        self._on_screen: Any | None = None
        self._scaled: tuple[Any, bytes] | None = None
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self.count >= self._sampling.frames

    def sample_packet(self, packet: Any | None) -> None:
        """Decodes a packet; None after the last one."""
        for frame in self._track.decode_packet(packet):
            self.sample_frame(frame)

    def sample_frame(self, frame: Any) -> None:
        """Takes the next frame. The first one also stands for the time before it."""
        ticks = self._track.ticks_of(frame)
        if ticks is None:
            return
        at = ticks * self._track.tick
        while not self.is_full and self._sampling.time_of(self.count) < at:
            self._write_frame(self._on_screen or frame)
        self._on_screen = frame

    def write_rest(self) -> None:
        """Writes the missing frames at the end of the video: the last frame stays on screen."""
        while self._on_screen is not None and not self.is_full:
            self._write_frame(self._on_screen)
        self._pieces.write_buffer()

    def _write_frame(self, frame: Any) -> None:
        if self._scaled is None or self._scaled[0] is not frame:
            self._scaled = frame, self._scaler.scale_frame(frame)
        self._pieces.append_piece(self._scaled[1])
        self.count += 1


def decode_video(
    job: VideoJob, source: int, output: int, choose_size: ChooseSize, hand_over: Callable[[Piece], None]
) -> DecodeReport:
    """Hands frames and audio over in pieces, each at the start of `output`.

    `choose_size` is called before more than one frame is decoded.
    """
    file = TrackFile(source, job.demuxer, job.decoders, job.source_pixels)
    video, audio = _tracks(file, job)
    packets = list(file.packets(job.max_packets, *(track for track in (video, audio) if track)))
    if len(packets) >= job.max_packets:
        raise DecodeRefused("damaged")
    video_span, audio_span = _time_spans(packets, video, audio, job)
    if audio is not None and audio_span.is_empty:
        audio = None
    first_frames, next_packet = _first_frames(video, packets)
    rotation = rotation_of(first_frames[0])
    width, height = _checked_upright_size(first_frames[0], video, rotation, job)
    # Audio that begins slightly before the video is a codec's lead-in and does not shift the start.
    start = video_span.start if video_span.start < _LEAD_IN_S else Fraction(0)
    source_frames = sum(track is video for track, _ in packets)
    length_s = video_span.end - start
    rate, count = _chosen_rate(length_s, source_frames, job)
    max_samples = math.ceil(max(audio_span.end - start, Fraction(0)) * RATE_HZ) if audio else 0
    found = Dimensions(count, height, width, max_samples, float(length_s), rate.numerator, rate.denominator)
    size = choose_size(found)
    sampling = FrameSampling(start, rate, count, size)
    pieces = _frame_pieces(output, job.piece_bytes, sampling.frame_bytes, hand_over)
    sampler = _FrameSampler(video, sampling, rotation, pieces)
    for frame in first_frames:
        sampler.sample_frame(frame)
    sound = sample_pieces(output, job.piece_samples, hand_over)
    writer = AudioWriter(audio, sound, max_samples, start) if audio else None
    for index, (track, packet) in enumerate(packets):
        if track is video:
            if index >= next_packet and not sampler.is_full:
                sampler.sample_packet(packet)
        elif writer is not None and not writer.is_full:
            writer.write_packet(packet)
    sampler.sample_packet(None)
    sampler.write_rest()
    video.check_damage()
    if writer is not None and audio is not None:
        writer.write_packet(None)
        audio.check_damage()
    return DecodeReport(
        frames=sampler.count,
        height=sampling.size.height,
        width=sampling.size.width,
        samples=writer.samples if writer else 0,
        rate_numerator=sampling.rate.numerator,
        rate_denominator=sampling.rate.denominator,
        seconds=float(video_span.end),
    )


def _frame_pieces(
    output: int, piece_bytes: int, frame_bytes: int, hand_over: Callable[[Piece], None]
) -> PieceWriter:
    """A writer of whole frames in pieces."""
    size_bytes = max(piece_bytes // frame_bytes, 1) * frame_bytes
    return PieceWriter(output, size_bytes, lambda size: hand_over(Piece(frames=size // frame_bytes)))


def _tracks(file: TrackFile, job: VideoJob) -> tuple[Track, Track | None]:
    """The video track and, if the job wants it, the audio track."""
    video, audio = file.video, file.audio
    if video is None:
        raise DecodeRefused("no_video" if audio else "damaged")
    if not video.is_supported:
        raise DecodeRefused("unsupported_video", codec=video.codec)
    width, height = video.stream.codec_context.width, video.stream.codec_context.height
    if width * height > job.source_pixels:
        raise DecodeRefused("too_many_pixels", width=width, height=height)
    return video, audio if job.use_audio else None


def _time_spans(
    packets: list[tuple[Track, Any]], video: Track, audio: Track | None, job: VideoJob
) -> tuple[TimeSpan, TimeSpan]:
    """The time spans of the video and audio tracks, within the job's limit."""
    spans = measure_spans(packets)
    video_span = spans.get(video, TimeSpan())
    audio_span = spans.get(audio, TimeSpan()) if audio is not None else TimeSpan()
    length_s = max(video_span.end, audio_span.end)
    if length_s > Fraction(job.max_seconds):
        raise DecodeRefused("too_long", seconds=float(length_s))
    if video_span.end <= video_span.start:
        raise DecodeRefused("damaged" if audio_span.is_empty else "no_video")
    if audio is not None and not audio_span.is_empty and not audio.is_supported:
        raise DecodeRefused("unsupported_audio", codec=audio.codec)
    return video_span, audio_span


def _first_frames(video: Track, packets: list[tuple[Track, Any]]) -> tuple[list[Any], int]:
    """The frames of the first packet that yields any, and the index of the next packet."""
    for index, (track, packet) in enumerate(packets):
        if track is video and (frames := video.decode_packet(packet)):
            return frames, index + 1
    if frames := video.decode_packet(None):
        return frames, len(packets)
    raise DecodeRefused("damaged")


def _checked_upright_size(frame: Any, video: Track, rotation: Rotation, job: VideoJob) -> tuple[int, int]:
    """Width and height as displayed. Raises DecodeRefused if one exceeds the other by the aspect ratio."""
    width, height = upright_size(frame, video.stream.sample_aspect_ratio or Fraction(1), rotation)
    if max(width, height) > job.aspect_ratio * min(width, height):
        raise DecodeRefused("aspect_ratio_exceeded", width=frame.width, height=frame.height)
    return width, height
