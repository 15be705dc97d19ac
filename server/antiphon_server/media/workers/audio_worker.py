"""Audio decoding in a decoder process, by libav and libswresample: bytes to mono float32 at 16 kHz."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from av.error import FFmpegError
from av.filter import Graph

from antiphon_server.media.sandbox.job import (
    RATE_HZ,
    SAMPLE_BYTES,
    AudioJob,
    DecodeRefused,
    DecodeReport,
    Piece,
)
from antiphon_server.media.workers.output_file import BufferedWriter, PieceWriter
from antiphon_server.media.workers.track_file import TimeSpan, Track, TrackFile, measure_spans

# swresample mixes channels by ITU-R BS.775: centre 1, left and right 0.7071, surround 0.5, no LFE. `maxval`
# keeps full scale on all channels at full scale: stereo becomes (L + R) / 2.
_MONO = f"{RATE_HZ}:internal_sample_fmt=fltp:rematrix_maxval=1.0:filter_size=64:cutoff=0.96"
_FLOAT_MONO = "sample_fmts=flt:channel_layouts=mono"
# A codec pads its first and last frames: by three frames of fixed length, or one frame of Opus.
_PADDING_FRAMES = 3
_PADDING_S = 0.12
# Containers that do not mark where the audio begins and ends, unless its first packet precedes the start.
_UNMARKED = {"aac", "mp3", "mpegts", "avi", "matroska"}
# Assumed channel layouts of files that state only the number of channels.
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class AudioWriter:
    """Decodes the packets of one track and writes at most `max_samples` samples to the output.

    With `start`, sample n has the time `start` + n / 16,000 s, and gaps of the track become silence.
    """

    def __init__(
        self,
        track: Track,
        writer: BufferedWriter | PieceWriter,
        max_samples: int,
        start: Fraction | None = None,
    ) -> None:
        self._track = track
        self._writer = writer
        self._max_samples = max_samples
        self._start = start
        self._format: tuple[Any, ...] | None = None
        self._resampler: _Resampler | None = None
        self.samples = 0

    @property
    def is_full(self) -> bool:
        return self.samples >= self._max_samples

    def write_packet(self, packet: Any | None) -> None:
        """Decodes and writes the next packet; None after the last one."""
        for frame in self._track.decode_packet(packet):
            if self.is_full:
                return
            frame_format = (frame.format.name, frame.layout.name, frame.sample_rate)
            if self._resampler is None or frame_format != self._format:
                self._finish_resampler()
                self._resampler = _Resampler(frame, self._first_sample(frame.sample_rate))
                self._format = frame_format
            frame.pts = self._start_sample(frame)
            frame.time_base = Fraction(1, frame.sample_rate)
            self._write_samples(self._resampler.resample(frame))
        if packet is None:
            self._finish_resampler()
            self._writer.write_buffer()

    def _first_sample(self, rate_hz: int) -> int | None:
        return None if self._start is None else self.samples * rate_hz // RATE_HZ

    def _start_sample(self, frame: Any) -> int | None:
        """The time of the frame since `start`, in its own samples."""
        ticks = self._track.ticks_of(frame)
        if self._start is None or ticks is None:
            return None
        return round((ticks * self._track.tick - self._start) * frame.sample_rate)

    def _finish_resampler(self) -> None:
        if self._resampler is not None:
            self._write_samples(self._resampler.resample(None))
            self._resampler = None

    def _write_samples(self, resampled: Iterator[tuple[int, memoryview]]) -> None:
        for samples, data in resampled:
            kept = min(samples, self._max_samples - self.samples)
            self._writer.append_piece(data[: kept * SAMPLE_BYTES])
            self.samples += kept


class _Resampler:
    """libswresample for frames of one format. `first_sample`: the input sample at which the output begins."""

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
            raise DecodeRefused("damaged") from error
        self._source, self._sink = source, nodes[-1]

    def resample(self, frame: Any | None) -> Iterator[tuple[int, memoryview]]:
        """Blocks of samples, each with its count and bytes. A frame of None flushes the filter."""
        self._source.push(frame)
        while True:
            try:
                resampled: Any = self._sink.pull()
            except (BlockingIOError, EOFError):
                return
            yield resampled.samples, memoryview(resampled.planes[0])


def sample_pieces(output: int, piece_samples: int, hand_over: Callable[[Piece], None]) -> PieceWriter:
    """A writer of samples in pieces."""
    size_bytes = piece_samples * SAMPLE_BYTES
    return PieceWriter(output, size_bytes, lambda size: hand_over(Piece(samples=size // SAMPLE_BYTES)))


def decode_audio(job: AudioJob, source: int, output: int, hand_over: Callable[[Piece], None]) -> DecodeReport:
    """Writes the first audio track to `output`, or hands it over in pieces, and reports its true length."""
    file = TrackFile(source, job.demuxer, job.decoders)
    track = file.audio
    if track is None:
        raise DecodeRefused("no_audio" if file.video else "damaged")
    if not track.is_supported:
        raise DecodeRefused("unsupported_audio", codec=track.codec)
    pieces = (
        sample_pieces(output, job.piece_samples, hand_over)
        if job.piece_samples
        else BufferedWriter(output, 0)
    )
    writer = AudioWriter(track, pieces, job.max_samples)

    def written_packets() -> Iterator[tuple[Track, Any]]:
        for found, packet in file.packets(job.max_packets, track):
            if not writer.is_full:
                writer.write_packet(packet)
            yield found, packet

    span = measure_spans(written_packets()).get(track, TimeSpan())
    if span.is_empty:
        raise DecodeRefused("no_audio")
    if span.packets >= job.max_packets and not writer.is_full:
        raise DecodeRefused("damaged")
    writer.write_packet(None)
    track.check_damage()
    return DecodeReport(samples=writer.samples, seconds=_length_s(job, track, span, writer))


def _length_s(job: AudioJob, track: Track, span: TimeSpan, writer: AudioWriter) -> float:
    """The length by the packets, without the codec's padding of the first and last frames.

    If the file decodes to more audio than its packets and their padding allow, the decoded length counts.
    """
    frames_s = float(_PADDING_FRAMES * track.frame_s)
    listed_s, decoded_s = float(span.end - max(span.start, Fraction(0))), writer.samples / RATE_HZ
    if decoded_s > listed_s + max(frames_s, _PADDING_S):
        return decoded_s
    is_unmarked = job.demuxer in _UNMARKED and span.start >= 0
    length_s = max(listed_s, decoded_s) if writer.is_full else min(listed_s, decoded_s)
    return max(length_s - frames_s, 0.0) if is_unmarked else length_s
