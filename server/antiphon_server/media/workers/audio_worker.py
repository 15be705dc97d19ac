"""Sound inside a decoder process: encoded bytes in, mono float32 at 16 kHz out.

Mixed and resampled by libswresample. Never runs in the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.error import FFmpegError
from av.filter import Graph

from antiphon_server.media.sandbox.job import Refused, Report, SoundJob
from antiphon_server.media.workers.output_file import PieceWriter
from antiphon_server.media.workers.track_file import Span, Track, TrackFile, spans

RATE_HZ = 16_000
SAMPLE_BYTES = 4
# swresample's matrix is ITU-R BS.775: centre 1, left and right 0.7071, surrounds 0.5, LFE left out. `maxval`
# scales it so that full scale on every channel stays full scale: stereo becomes (L + R) / 2.
_MONO = f"{RATE_HZ}:internal_sample_fmt=fltp:rematrix_maxval=1.0:filter_size=64:cutoff=0.96"
_FLOAT_MONO = "sample_fmts=flt:channel_layouts=mono"
# A codec fills its first and last frames up: three of a fixed length, or one of Opus.
_FILLING_FRAMES = 3
_FILLING_S = 0.12
# These do not say where the sound begins and ends, unless its first packet lies before the start.
_UNMARKED = {"aac", "mp3", "mpegts", "avi", "matroska"}
# What is taken for the layout of a file that only counts its channels.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class SoundWriter:
    """Frames of one track in, samples in the output, at most `most_samples`.

    With `start`, sample n belongs to `start` + n / 16,000 s: silence where the track has a gap.
    """

    def __init__(
        self, track: Track, output: int, offset: int, most_samples: int, start: Fraction | None = None
    ) -> None:
        self._track = track
        self._writer = PieceWriter(output, offset)
        self._most = most_samples
        self._start = start
        self._kind: tuple[Any, ...] | None = None
        self._mixer: _Mixer | None = None
        self.samples = 0

    @property
    def is_full(self) -> bool:
        return self.samples >= self._most

    def hear(self, packet: Any | None) -> None:
        """The next packet, or None after the last."""
        for frame in self._track.decode(packet):
            if self.is_full:
                return
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if self._mixer is None or kind != self._kind:
                self._finish_mixer()
                self._mixer, self._kind = _Mixer(frame, self._first_sample(frame.sample_rate)), kind
            frame.pts = self._when(frame)
            frame.time_base = Fraction(1, frame.sample_rate)
            self._write(self._mixer.mix(frame))
        if packet is None:
            self._finish_mixer()
            self._writer.flush()

    def _first_sample(self, rate_hz: int) -> int | None:
        return None if self._start is None else self.samples * rate_hz // RATE_HZ

    def _when(self, frame: Any) -> int | None:
        """The frame's time in its own samples, from `start` on."""
        ticks = self._track.ticks(frame)
        if self._start is None or ticks is None:
            return None
        return round((ticks * self._track.tick - self._start) * frame.sample_rate)

    def _finish_mixer(self) -> None:
        if self._mixer is not None:
            self._write(self._mixer.mix(None))
            self._mixer = None

    def _write(self, mixed: Iterator[tuple[int, memoryview]]) -> None:
        for samples, data in mixed:
            taken = min(samples, self._most - self.samples)
            self._writer.add(data[: taken * SAMPLE_BYTES])
            self.samples += taken


class _Mixer:
    """libswresample for frames of one format. `first_sample`: which of the input's the output begins with."""

    def __init__(self, frame: Any, first_sample: int | None) -> None:
        channels = frame.layout.nb_channels
        layout = frame.layout.name
        if layout.endswith("channels"):
            layout = _USUAL_LAYOUTS.get(channels, layout)
        self._graph = Graph()
        self._graph.threads = 1
        source = self._graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=layout,
            time_base=f"1/{frame.sample_rate}",
        )
        nodes = [source]
        if first_sample is not None:
            nodes.append(self._graph.add("aresample", f"async=1:first_pts={first_sample}"))
        nodes += [self._graph.add("aresample", _MONO), self._graph.add("aformat", _FLOAT_MONO)]
        nodes.append(self._graph.add("abuffersink"))
        try:
            self._graph.link_nodes(*nodes).configure()
        except FFmpegError as error:
            raise Refused("damaged") from error
        self._source, self._sink = source, nodes[-1]

    def mix(self, frame: Any | None) -> Iterator[tuple[int, memoryview]]:
        """Samples and their bytes. None: the rest."""
        self._source.push(frame)
        while True:
            try:
                mixed: Any = self._sink.pull()
            except (BlockingIOError, EOFError):
                return
            yield mixed.samples, memoryview(mixed.planes[0])


def decode_sound(job: SoundJob, source: int, output: int) -> Report:
    """The first track of sound, and how long it really is."""
    file = TrackFile(source, job.demuxer, job.decoders)
    track = file.sound
    if track is None:
        raise Refused("no_sound" if file.sight else "damaged")
    if not track.is_known:
        raise Refused("foreign_sound", codec=track.codec)
    writer = SoundWriter(track, output, 0, job.most_samples)

    def heard() -> Iterator[tuple[Track, Any]]:
        for found, packet in file.packets(job.most_packets, track):
            if not writer.is_full:
                writer.hear(packet)
            yield found, packet

    span = spans(heard()).get(track, Span())
    if span.is_empty:
        raise Refused("no_sound")
    if span.packets >= job.most_packets and not writer.is_full:
        raise Refused("damaged")
    writer.hear(None)
    track.check()
    return Report(samples=writer.samples, seconds=_length_s(job, track, span, writer))


def _length_s(job: SoundJob, track: Track, span: Span, writer: SoundWriter) -> float:
    """By the packets, but not what a codec fills its first and last frame with. A file that decodes to more
    than that has lied.
    """
    frames_s = float(_FILLING_FRAMES * track.frame_s)
    listed_s, decoded_s = float(span.end - max(span.start, Fraction(0))), writer.samples / RATE_HZ
    if decoded_s > listed_s + max(frames_s, _FILLING_S):
        return decoded_s
    is_unmarked = job.demuxer in _UNMARKED and span.start >= 0
    length_s = max(listed_s, decoded_s) if writer.is_full else min(listed_s, decoded_s)
    return max(length_s - frames_s, 0.0) if is_unmarked else length_s
