"""A file of sound or video inside a decoder process: opened by PyAV, with its demuxer and decoders forced.

In: the descriptor of the sealed input. Out: packets with their times, and frames. No other file, protocol or
codec can be opened, and no thread is started. Never runs in the server.
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

from antiphon_server.media.sandbox.job import Refused

# As ffmpeg's own command line has it: a file of which more packets than that are broken is damaged.
_BROKEN_SHARE = 2 / 3
_GEN_PTS = 0x0001
_READ_BYTES = 1 << 16


@dataclass(slots=True)
class Span:
    """From when to when a track has packets, in seconds; both 0 where it has none."""

    tick: Fraction = Fraction(0)
    first: int | None = None
    past: int = 0
    packets: int = 0

    def add(self, at: int, duration: int) -> None:
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
    """One track of the file. `stream` is PyAV's; `broken` of `tried` packets could not be decoded."""

    def __init__(
        self, stream: Any, origin_us: int, decoders: tuple[str, ...], options: dict[str, str]
    ) -> None:
        self.stream = stream
        self.tick = Fraction(stream.time_base or 1)
        self._origin = round(Fraction(origin_us, 1_000_000) / self.tick)
        self._codec = stream.codec_context
        self.is_known = self._codec is not None and self._codec.name in decoders
        self.tried = self.broken = 0
        if self.is_known:
            self._codec.thread_count = 1
            self._codec.options = {**options, "threads": "1"}

    @property
    def codec(self) -> str:
        """libav's name of the codec; empty where libav does not know it either."""
        return "" if self._codec is None else str(self._codec.codec.canonical_name)

    @property
    def frame_s(self) -> Fraction:
        """The length of a frame of sound; 0 where frames have any length."""
        codec = self._codec
        return Fraction(codec.frame_size or 0, codec.sample_rate) if codec.sample_rate else Fraction(0)

    def ticks(self, item: Any) -> int | None:
        """When a packet or frame is due, in ticks from the file's start."""
        at = item.dts if item.pts is None else item.pts
        return None if at is None else at - self._origin

    def decode(self, packet: Any) -> list[Any]:
        """Frames of a packet (None: those that the decoder still holds). A broken packet gives none."""
        self.tried += 1
        try:
            return list(self._codec.decode(packet))
        except EOFError:
            return []
        except FFmpegError:
            self.broken += 1
            return []

    def check(self) -> None:
        """Raises Refused where too little could be decoded."""
        if self.broken > self.tried * _BROKEN_SHARE:
            raise Refused("damaged")


class _Input:
    """The sealed input, read without any other call of the system than `pread`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.lseek(descriptor, 0, os.SEEK_END)
        self._at = 0

    def read(self, most_bytes: int) -> bytes:
        data = os.pread(self._descriptor, most_bytes, self._at)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at


class TrackFile:
    """The file. `sound` and `sight`: the first track of either kind that is no cover picture, or None."""

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
                _Input(source),
                mode="r",
                format=demuxer,
                options=options,
                metadata_errors="replace",
                buffer_size=_READ_BYTES,
                io_open=_no_other_file,
            )
        except (FFmpegError, OSError, ValueError, EOFError) as error:
            raise Refused("damaged") from error
        # PyAV asks for made-up times, which reads ahead without bound.
        self._file.flags &= ~_GEN_PTS
        origin_us = self._file.start_time or 0
        streams = self._file.streams
        sights = [one for one in streams.video if not one.disposition & one.disposition.attached_pic]
        self.sound, self.sight = (
            Track(found[0], origin_us, decoders, codec_options) if found else None
            for found in (streams.audio, sights)
        )

    def packets(self, most: int, *tracks: Track) -> Iterator[tuple[Track, Any]]:
        """Packets of the tracks in the order of the file, at most `most`. A broken file just ends."""
        by_index = {track.stream.index: track for track in tracks}
        try:
            for packet in islice(self._file.demux([track.stream for track in tracks]), most):
                if packet.size:
                    yield by_index[packet.stream_index], packet
        except (FFmpegError, OSError, ValueError):
            return

    def close(self) -> None:
        self._file.close()


def spans(packets: Iterable[tuple[Track, Any]]) -> dict[Track, Span]:
    """How long the tracks are by their packets: a header can lie, these cannot."""
    found: dict[Track, Span] = {}
    for track, packet in packets:
        ticks = track.ticks(packet)
        if ticks is not None and not packet.is_discard:
            if track not in found:
                found[track] = Span(track.tick)
            found[track].add(ticks, packet.duration or 0)
    return found


def _no_other_file(url: str, flags: int, options: dict[str, str]) -> None:
    raise PermissionError("a media file may not open another")
