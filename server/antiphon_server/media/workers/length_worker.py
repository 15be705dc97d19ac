"""Measurement of an audio track's length in a decoder process, by the file's statement and its packets."""

from __future__ import annotations

from fractions import Fraction

from antiphon_server.media.sandbox.job import DecodeReport, LengthJob
from antiphon_server.media.workers.track_file import TimeSpan, TrackFile

# Of these files libav only estimates the length.
_ESTIMATED = {"aac", "mp3", "mpegts"}


def measure_length(job: LengthJob, source: int) -> DecodeReport:
    """0 seconds if the file has no audio: its decoder names the reason."""
    file = TrackFile(source, job.demuxer, job.decoders)
    track, stated_s = file.audio, file.stated_s
    if track is None or stated_s <= job.max_seconds:
        return DecodeReport(seconds=stated_s if track is not None else 0.0)
    span = TimeSpan(track.tick)
    for _, packet in file.packets(job.max_packets, track):
        ticks = track.ticks_of(packet)
        if ticks is None or packet.is_discard:
            continue
        span.add_packet(ticks, packet.duration or 0)
        if job.demuxer not in _ESTIMATED and _length_s(span) > job.max_seconds:
            return DecodeReport(seconds=stated_s)
    return DecodeReport(seconds=float(_length_s(span)))


def _length_s(span: TimeSpan) -> Fraction:
    return span.end - max(span.start, Fraction(0))
