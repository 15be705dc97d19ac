"""An audio or video file in a decoder process, opened by PyAV with a fixed demuxer and fixed decoders.

No other file, protocol or codec can be opened, and no thread is started. The input is the sealed memory file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import av
from av.error import FFmpegError

from antiphon_server.media.sandbox.job import DecodeRefused

# Like ffmpeg's command line: a file counts as damaged if more than this share of its packets is broken.
_BROKEN_SHARE = 2 / 3
_GEN_PTS = 0x0001
_READ_BYTES = 1 << 16


@dataclass(slots=True)
class TimeSpan:
    """The time from the first to the last packet of a track, in seconds; both 0 without packets."""

    tick: Fraction = Fraction(0)
    first: int | None = None
    past: int = 0
    packets: int = 0

    def add_packet(self, at: int, duration: int) -> None:
        """Both in ticks."""
        self.packets += 1
        if self.first is None:
            self.first, self.past = at, at + duration
        else:
            self.first, self.past = min(self.first, at), max(self.past, at + duration)

    @property
    def is_empty(self) -> bool:
        return self.first is None

    @property
    def start(self) -> Fraction:
        return (self.first or 0) * self.tick

    @property
    def end(self) -> Fraction:
        return self.past * self.tick


class Track:
    """One track of the file. `stream`: PyAV's. Of `tried` packets, `broken` could not be decoded."""

    def __init__(
        self, stream: Any, origin_us: int, decoders: tuple[str, ...], options: dict[str, str]
    ) -> None:
        self.stream = stream
        self.tick = Fraction(stream.time_base or 1)
        self._origin = round(Fraction(origin_us, 1_000_000) / self.tick)
        self._codec = stream.codec_context
        self.is_supported = self._codec is not None and self._codec.name in decoders
        self.tried = self.broken = 0
        if self.is_supported:
            self._codec.thread_count = 1
            self._codec.options = {**options, "threads": "1"}

    @property
    def codec(self) -> str:
        """libav's name of the codec; empty if libav does not know it."""
        return "" if self._codec is None else str(self._codec.codec.canonical_name)

    @property
    def frame_s(self) -> Fraction:
        """The length of an audio frame in seconds; 0 if frames have no fixed length."""
        codec = self._codec
        return Fraction(codec.frame_size or 0, codec.sample_rate) if codec.sample_rate else Fraction(0)

    def ticks_of(self, item: Any) -> int | None:
        """The time of a packet or frame in ticks since the start of the file; None if it has no time."""
        at = item.dts if item.pts is None else item.pts
        return None if at is None else at - self._origin

    def decode_packet(self, packet: Any) -> list[Any]:
        """The frames of a packet; for None, those still in the decoder. A broken packet gives none."""
        self.tried += 1
        try:
            return list(self._codec.decode(packet))
        except EOFError:
            return []
        except FFmpegError:
            self.broken += 1
            return []

    def check_damage(self) -> None:
        """Raises DecodeRefused if too many packets were broken."""
        if self.broken > self.tried * _BROKEN_SHARE:
            raise DecodeRefused("damaged")


class _SealedInput:
    """File object for PyAV on the sealed input; `pread` is its only system call."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.lseek(descriptor, 0, os.SEEK_END)
        self._at = 0

    def read(self, size_bytes: int) -> bytes:
        data = os.pread(self._descriptor, size_bytes, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


class TrackFile:
    """The open file. `audio`, `video`: its first track of that kind, or None; a cover image is no video."""

    def __init__(
        self, source: int, demuxer: str, decoders: tuple[str, ...], source_pixels: int | None = None
    ) -> None:
        codec_options = {"codec_whitelist": ",".join(decoders)}
        if source_pixels is not None:
            codec_options["max_pixels"] = str(source_pixels)
        options = {**codec_options, "format_whitelist": demuxer, "protocol_whitelist": "none"}
        if demuxer == "mov":
            options["enable_drefs"] = "0"
        try:
            self._file = av.open(
                _SealedInput(source),
                mode="r",
                format=demuxer,
                options=options,
                metadata_errors="replace",
                buffer_size=_READ_BYTES,
                io_open=_refuse_other_file,
            )
        except (FFmpegError, OSError, ValueError, EOFError) as error:
            raise DecodeRefused("damaged") from error
        # PyAV asks libav to generate missing times, which reads ahead without bound.
        self._file.flags &= ~_GEN_PTS
        origin_us = self._file.start_time or 0
        streams = self._file.streams
        videos = [one for one in streams.video if not one.disposition & one.disposition.attached_pic]
        self.audio, self.video = (
            Track(found[0], origin_us, decoders, codec_options) if found else None
            for found in (streams.audio, videos)
        )

    @property
    def stated_s(self) -> float:
        """The length that the file states or libav estimates, in seconds; 0 if neither."""
        return max((self._file.duration or 0) / 1_000_000, 0.0)

    def packets(self, limit: int, *tracks: Track) -> Iterator[tuple[Track, Any]]:
        """At most `limit` packets of the tracks in file order. In a broken file they end early."""
        by_index = {track.stream.index: track for track in tracks}
        try:
            for packet in islice(self._file.demux([track.stream for track in tracks]), limit):
                if packet.size:
                    yield by_index[packet.stream_index], packet
        except (FFmpegError, OSError, ValueError):
            return

    def close(self) -> None:
        self._file.close()


def measure_spans(packets: Iterable[tuple[Track, Any]]) -> dict[Track, TimeSpan]:
    """The time span of each track by its packets, because a header can state a wrong length."""
    spans: dict[Track, TimeSpan] = {}
    for track, packet in packets:
        ticks = track.ticks_of(packet)
        if ticks is not None and not packet.is_discard:
            if track not in spans:
                spans[track] = TimeSpan(track.tick)
            spans[track].add_packet(ticks, packet.duration or 0)
    return spans


def _refuse_other_file(url: str, flags: int, options: dict[str, str]) -> None:
    raise PermissionError("a media file may not open another file")
