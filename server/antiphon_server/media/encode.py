"""Encoding of generated speech (s16le PCM, mono, 24 kHz) into the audio format that the client asked for.

WAV and PCM are written here. MP3, FLAC, Opus (in Ogg) and AAC (ADTS) come from FFmpeg's libraries, in a few
threads. A whole file states its length if its format can; a stream cannot.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar, cast

import av
from av.error import FFmpegError

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.errors import InternalError
from antiphon_server.media.wav_header import SAMPLE_BYTES, wav_header
from antiphon_server.openai_api.options import AudioFormat

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

P = ParamSpec("P")
R = TypeVar("R")

_PART_BYTES = SAMPLE_BYTES * OUTPUT_SAMPLE_RATE_HZ
_TIME_BASE = Fraction(1, OUTPUT_SAMPLE_RATE_HZ)
# Encoding leaves Python's lock free. A second of speech takes milliseconds, so that a file of minutes would
# keep streams waiting.
_STREAMS, _FILES = ThreadPoolExecutor(2, "encode"), ThreadPoolExecutor(2, "encode-file")


@dataclass(frozen=True, slots=True)
class Codec:
    """`container`: as FFmpeg names it. The options are those of the encoder and of the container."""

    name: str
    container: str
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)


# The sound of the first frame of speech leaves at once: MP3 keeps no bits for later, blocks of FLAC and pages
# of Ogg are short.
CODECS: dict[AudioFormat, Codec] = {
    "pcm16": Codec("pcm_s16le", "s16le"),
    "mp3": Codec("libmp3lame", "mp3", 96_000, {"reservoir": "0"}, {"id3v2_version": "0"}),
    "flac": Codec("flac", "flac", None, {"frame_size": "1152"}, {"metadata_header_padding": "0"}),
    "opus": Codec("libopus", "ogg", 48_000, container_options={"page_duration": "20000"}),
    "aac": Codec("aac", "adts", 96_000),
}


class AudioEncoder(Protocol):
    """An encoder for one stream of speech."""

    async def encode_pcm(self, pcm: bytes) -> bytes:
        """Takes more samples and returns the encoded bytes that are ready, which may be none."""

    async def finish_encoding(self) -> bytes:
        """Returns the rest of the encoded bytes; no samples may follow."""


class PcmEncoder:
    """The format `pcm16`: the samples themselves."""

    async def encode_pcm(self, pcm: bytes) -> bytes:
        return pcm

    async def finish_encoding(self) -> bytes:
        return b""


class Sink:
    """What a container writes, until it is taken. It cannot go back."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


class SoundFile:
    """One file of encoded sound, written to `sink` in order. Raises FFmpegError. Not safe for threads.

    Without `close` or `abandon` it stays in memory until the garbage collector runs.
    """

    def __init__(self, codec: Codec, sink: Sink | io.BytesIO, rate_hz: int) -> None:
        options = {"flush_packets": "1", "fflags": "+bitexact", **codec.container_options}
        self._file = av.open(sink, "w", format=codec.container, options=options)
        stream = self._file.add_stream(codec.name, rate=rate_hz, options=dict(codec.options))
        self._stream = cast("AudioStream", stream)
        context = self._stream.codec_context
        context.layout, context.thread_count = "mono", 1
        if codec.bit_rate is not None:
            context.bit_rate = codec.bit_rate
        self._samples = 0

    def write(self, pcm: bytes) -> None:
        frame = av.AudioFrame("s16", "mono", len(pcm) // SAMPLE_BYTES)
        frame.planes[0].update(pcm)
        frame.sample_rate, frame.time_base, frame.pts = OUTPUT_SAMPLE_RATE_HZ, _TIME_BASE, self._samples
        self._samples += frame.samples
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()

    def abandon(self) -> None:
        """The rest is not wanted. Idempotent, also after `close`."""
        with suppress(FFmpegError):
            self._file.close()


class CodecEncoder:
    """A stream that FFmpeg's libraries encode. Both coroutines raise InternalError if it fails, or takes
    longer than `deadline_s`. After `abandon` nothing may follow.
    """

    def __init__(self, codec: Codec, deadline_s: float, rate_hz: int = OUTPUT_SAMPLE_RATE_HZ) -> None:
        self._codec = codec
        self._deadline_s = deadline_s
        self._rate_hz = rate_hz
        self._sink = Sink()
        self._file: SoundFile | None = None
        self._is_abandoned = False
        # A thread may still encode for a client that has left.
        self._lock = threading.Lock()

    async def encode_pcm(self, pcm: bytes) -> bytes:
        return await in_thread(_STREAMS, self._deadline_s, self._encode, pcm) if pcm else b""

    async def finish_encoding(self) -> bytes:
        return b"" if self._file is None else await in_thread(_STREAMS, self._deadline_s, self._finish)

    def abandon(self) -> None:
        _STREAMS.submit(self._abandon)

    def _encode(self, pcm: bytes) -> bytes:
        with self._lock:
            if self._is_abandoned:
                return b""
            if self._file is None:
                self._file = SoundFile(self._codec, self._sink, self._rate_hz)
            self._file.write(pcm)
            return self._sink.take()

    def _finish(self) -> bytes:
        with self._lock:
            if self._file is None:
                return b""
            self._file.close()
            return self._sink.take()

    def _abandon(self) -> None:
        with self._lock:
            self._is_abandoned = True
            file, self._file = self._file, None
            if file is not None:
                file.abandon()


@asynccontextmanager
async def open_encoder(
    audio_format: AudioFormat, deadline_s: float, rate_hz: int = OUTPUT_SAMPLE_RATE_HZ
) -> AsyncIterator[AudioEncoder]:
    """An encoder for a stream. `wav` gives bare samples: its header states a length (see `encode_file`).

    `rate_hz`: of the encoded audio.
    """
    if audio_format == "wav":
        audio_format = "pcm16"
    if audio_format == "pcm16" and rate_hz == OUTPUT_SAMPLE_RATE_HZ:
        yield PcmEncoder()
    else:
        encoder = CodecEncoder(CODECS[audio_format], deadline_s, rate_hz)
        try:
            yield encoder
        finally:
            encoder.abandon()


async def encode_file(pcm: bytes, audio_format: AudioFormat, deadline_s: float) -> bytes:
    """A whole file. `pcm`: s16le, mono, 24 kHz. Raises InternalError if it fails or takes too long."""
    if audio_format == "wav":
        return wav_header(len(pcm) // SAMPLE_BYTES, OUTPUT_SAMPLE_RATE_HZ) + pcm
    if audio_format == "pcm16":
        return pcm
    return await in_thread(_FILES, deadline_s, _whole_file, CODECS[audio_format], pcm)


def _whole_file(codec: Codec, pcm: bytes) -> bytes:
    # FFmpeg goes back to write the length into the header.
    whole = io.BytesIO()
    file = SoundFile(codec, whole, OUTPUT_SAMPLE_RATE_HZ)
    try:
        for start in range(0, len(pcm), _PART_BYTES):
            file.write(pcm[start : start + _PART_BYTES])
        file.close()
    finally:
        file.abandon()
    return whole.getvalue()


async def in_thread(
    threads: Executor, deadline_s: float, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Raises InternalError if the work fails or is not done in time."""
    try:
        async with asyncio.timeout(deadline_s):
            return await asyncio.get_running_loop().run_in_executor(threads, partial(work, *args, **kwargs))
    except (TimeoutError, FFmpegError):
        raise InternalError("the speech could not be encoded") from None
