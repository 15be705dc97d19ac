"""Videos inside a decoder process: encoded bytes in, evenly spaced RGB frames and their sound out.

The packets are counted first, so that length, frame count and memory are known, or refused, before a frame is
decoded. Frame k is the one on screen at k / rate, exactly; a long video gets a lower rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from antiphon_server.media.sandbox.job import Ask, Found, Refused, Report, Size, VideoJob
from antiphon_server.media.workers.audio_worker import RATE_HZ, SoundWriter
from antiphon_server.media.workers.frame_painter import FramePainter, Turn, turn_of, upright_size
from antiphon_server.media.workers.output_file import write_at
from antiphon_server.media.workers.track_file import Span, Track, TrackFile, spans

_FINEST_RATE = 1_000
_LEAD_IN_S = Fraction(1, 10)
_SOUND_ALIGNMENT = 16


def sampling(length_s: Fraction, wanted_fps: float, most_frames: int) -> tuple[Fraction, int]:
    """Rate and count: the wanted rate, or the highest that keeps `length_s` within `most_frames` frames."""
    rate = Fraction(wanted_fps).limit_denominator(_FINEST_RATE)
    frames = max(1, math.ceil(length_s * rate))
    if frames <= most_frames:
        return rate, frames
    # Rounded down to a multiple of 1/100,000: a rate that is short to write and never a frame too many.
    lowered = Fraction(math.floor(most_frames / length_s * 100_000), 100_000)
    return lowered, most_frames


@dataclass(frozen=True, slots=True)
class FramePlan:
    """Which frames of a video are kept: `frames` of one size, `rate` a second, from `start` seconds on."""

    start: Fraction
    rate: Fraction
    frames: int
    size: Size

    @property
    def frame_bytes(self) -> int:
        return self.size.height * self.size.width * 3

    @property
    def sound_at(self) -> int:
        """Where in the output the sound begins."""
        return -(-self.frames * self.frame_bytes // _SOUND_ALIGNMENT) * _SOUND_ALIGNMENT

    def due(self, frame: int) -> Fraction:
        return self.start + frame / self.rate


class _Screen:
    """Frames as they are decoded in; those that are on screen when one is due, in the output."""

    def __init__(self, track: Track, plan: FramePlan, turn: Turn, output: int) -> None:
        self._track = track
        self._plan = plan
        self._output = output
        self._painter = FramePainter(plan.size, turn)
        self._shown: Any | None = None
        self._drawn: tuple[Any, bytes] | None = None
        self.count = 0

    @property
    def is_full(self) -> bool:
        return self.count >= self._plan.frames

    def show(self, frame: Any) -> None:
        """The next frame. The first also stands for the time before it."""
        ticks = self._track.ticks(frame)
        if ticks is None:
            return
        at = ticks * self._track.tick
        while not self.is_full and self._plan.due(self.count) < at:
            self._write(self._shown or frame)
        self._shown = frame

    def finish(self) -> None:
        """The last frame stays on screen until the end."""
        while self._shown is not None and not self.is_full:
            self._write(self._shown)

    def _write(self, frame: Any) -> None:
        if self._drawn is None or self._drawn[0] is not frame:
            self._drawn = frame, self._painter.paint(frame)
        write_at(self._output, self._drawn[1], self.count * self._plan.frame_bytes)
        self.count += 1


def decode_video(job: VideoJob, source: int, output: int, ask: Ask) -> Report:
    """`ask` names the size of the frames, before more than one is decoded."""
    file = TrackFile(source, job.demuxer, job.decoders, job.source_pixels)
    sight, sound = _tracks(file, job)
    packets = list(file.packets(job.most_packets, *(track for track in (sight, sound) if track)))
    if len(packets) >= job.most_packets:
        raise Refused("damaged")
    seen, heard = _lengths(packets, sight, sound, job)
    if sound is not None and heard.is_empty:
        sound = None
    frames, rest = _first_frame(sight, packets)
    turn = turn_of(frames[0])
    across, down = _upright(frames[0], sight, turn, job)
    # A track of sound that begins a little before the picture is a codec's lead-in, not time to be shown.
    start = seen.start if seen.start < _LEAD_IN_S else Fraction(0)
    rate, count = sampling(seen.end - start, job.fps, job.most_frames)
    most_samples = math.ceil(max(heard.end - start, Fraction(0)) * RATE_HZ) if sound else 0
    plan = FramePlan(start, rate, count, ask(Found(count, down, across, most_samples)))
    screen = _Screen(sight, plan, turn, output)
    for frame in frames:
        screen.show(frame)
    writer = SoundWriter(sound, output, plan.sound_at, most_samples, plan.start) if sound else None
    for index, (track, packet) in enumerate(packets):
        if track is sight:
            if index >= rest and not screen.is_full:
                _show_all(screen, sight, packet)
        elif writer is not None and not writer.is_full:
            writer.hear(packet)
    _show_all(screen, sight, None)
    screen.finish()
    sight.check()
    if writer is not None and sound is not None:
        writer.hear(None)
        sound.check()
    return Report(
        frames=screen.count,
        height=plan.size.height,
        width=plan.size.width,
        samples=writer.samples if writer else 0,
        sound_at=plan.sound_at,
        rate_numerator=plan.rate.numerator,
        rate_denominator=plan.rate.denominator,
        seconds=float(seen.end),
    )


def _tracks(file: TrackFile, job: VideoJob) -> tuple[Track, Track | None]:
    sight, sound = file.sight, file.sound
    if sight is None:
        raise Refused("no_picture" if sound else "damaged")
    if not sight.is_known:
        raise Refused("foreign_picture", codec=sight.codec)
    width, height = sight.stream.codec_context.width, sight.stream.codec_context.height
    if width * height > job.source_pixels:
        raise Refused("too_many_pixels", width=width, height=height)
    return sight, sound if job.use_audio else None


def _lengths(
    packets: list[tuple[Track, Any]], sight: Track, sound: Track | None, job: VideoJob
) -> tuple[Span, Span]:
    found = spans(packets)
    seen = found.get(sight, Span())
    heard = found.get(sound, Span()) if sound is not None else Span()
    length_s = max(seen.end, heard.end)
    if length_s > Fraction(job.most_seconds):
        raise Refused("too_long", seconds=float(length_s))
    if seen.end <= seen.start:
        raise Refused("damaged" if heard.is_empty else "no_picture")
    if sound is not None and not heard.is_empty and not sound.is_known:
        raise Refused("foreign_sound", codec=sound.codec)
    return seen, heard


def _first_frame(sight: Track, packets: list[tuple[Track, Any]]) -> tuple[list[Any], int]:
    """The frames of the first packet that gives any, and the index of the packet after it."""
    for index, (track, packet) in enumerate(packets):
        if track is sight and (frames := sight.decode(packet)):
            return frames, index + 1
    if frames := sight.decode(None):
        return frames, len(packets)
    raise Refused("damaged")


def _upright(frame: Any, sight: Track, turn: Turn, job: VideoJob) -> tuple[int, int]:
    """Width and height as a viewer sees them."""
    across, down = upright_size(frame, sight.stream.sample_aspect_ratio or Fraction(1), turn)
    if max(across, down) > job.aspect_ratio * min(across, down):
        raise Refused("too_long_a_side", width=frame.width, height=frame.height)
    return across, down


def _show_all(screen: _Screen, sight: Track, packet: Any | None) -> None:
    for frame in sight.decode(packet):
        screen.show(frame)
