"""Encoding of generated speech (s16le PCM, mono, 24 kHz) into the audio format that the client asked for.

WAV and PCM are written here. MP3, FLAC, Opus (in Ogg) and AAC (ADTS) come from an ffmpeg child process, which
is killed at its deadline. A whole file states its length if its format can; a stream cannot.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import ffmpeg

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.errors import InternalError
from antiphon_server.media.ffmpeg import find_ffmpeg
from antiphon_server.media.wav_header import SAMPLE_BYTES, wav_header
from antiphon_server.openai_api.options import AudioFormat

_READ_BYTES = 16_384
_OUTPUTS: dict[str, dict[str, str]] = {
    "pcm16": {"format": "s16le", "acodec": "pcm_s16le"},
    "mp3": {"format": "mp3", "acodec": "libmp3lame", "audio_bitrate": "96k", "id3v2_version": "0"},
    "flac": {"format": "flac", "acodec": "flac"},
    "opus": {"format": "ogg", "acodec": "libopus", "audio_bitrate": "48k", "page_duration": "100000"},
    "aac": {"format": "adts", "acodec": "aac", "audio_bitrate": "96k"},
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


class FfmpegEncoder:
    """One ffmpeg child process, started by `start`, at the latest with the first samples.

    `encode_pcm` never waits for its output. `files`: descriptors that the child inherits. Both methods raise
    InternalError if ffmpeg fails or exceeds `deadline_s`.
    """

    def __init__(self, command: list[str], deadline_s: float, files: tuple[int, ...] = ()) -> None:
        self._command = command
        self._deadline_s = deadline_s
        self._files = files
        self._encoded = bytearray()
        self._has_samples = False
        self._reader: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self.child: asyncio.subprocess.Process | None = None

    def start(self) -> None:
        """Starts the child without waiting for it: loading ffmpeg takes longer than the first frame."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._spawn_child())

    async def encode_pcm(self, pcm: bytes) -> bytes:
        self._has_samples = True
        try:
            child = self.child or await self._started()
            async with asyncio.timeout(self._deadline_s):
                child.stdin.write(pcm)  # type: ignore[union-attr]  # it was started with pipes
                await child.stdin.drain()  # type: ignore[union-attr]
        except (TimeoutError, OSError):
            raise InternalError("the speech could not be encoded") from None
        return self._pop_encoded()

    async def finish_encoding(self) -> bytes:
        if not self._has_samples or self.child is None or self._reader is None:
            return b""
        self.child.stdin.close()  # type: ignore[union-attr]  # it was started with pipes
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._reader
                code = await self.child.wait()
        except TimeoutError:
            code = -1
        if code != 0:
            raise InternalError("the speech could not be encoded")
        return self._pop_encoded()

    async def close(self) -> None:
        """Kills the child if it still runs, and waits for it."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self.child is None or self._reader is None:
            return
        self._reader.cancel()
        if self.child.returncode is None:
            self.child.kill()
        await asyncio.gather(self._reader, self.child.wait(), return_exceptions=True)

    async def _started(self) -> asyncio.subprocess.Process:
        self.start()
        # Shielded: a child whose start is cancelled halfway would belong to no one.
        return await asyncio.shield(self._starting)  # type: ignore[arg-type]  # `start` sets it

    async def _spawn_child(self) -> asyncio.subprocess.Process:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self.child = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=nothing, pass_fds=self._files
        )
        self._reader = asyncio.create_task(self._read_output(self.child))
        return self.child

    def _pop_encoded(self) -> bytes:
        encoded = bytes(self._encoded)
        self._encoded.clear()
        return encoded

    async def _read_output(self, child: asyncio.subprocess.Process) -> None:
        while data := await child.stdout.read(_READ_BYTES):  # type: ignore[union-attr]
            self._encoded += data


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
        return
    encoder = FfmpegEncoder(encoder_command(audio_format, "pipe:1", rate_hz), deadline_s)
    encoder.start()
    try:
        yield encoder
    finally:
        await encoder.close()


async def encode_file(pcm: bytes, audio_format: AudioFormat, deadline_s: float) -> bytes:
    """A whole file. `pcm`: s16le, mono, 24 kHz. Raises InternalError if ffmpeg fails or takes too long."""
    if audio_format == "wav":
        return wav_header(len(pcm) // SAMPLE_BYTES, OUTPUT_SAMPLE_RATE_HZ) + pcm
    if audio_format == "pcm16":
        return pcm
    file = os.memfd_create("speech", os.MFD_CLOEXEC)
    # A seekable file rather than a pipe: ffmpeg goes back to write the length into the header.
    encoder = FfmpegEncoder(encoder_command(audio_format, f"file:/dev/fd/{file}"), deadline_s, (file,))
    try:
        await encoder.encode_pcm(pcm)
        await encoder.finish_encoding()
        return await asyncio.to_thread(_read_whole, file)
    finally:
        await encoder.close()
        os.close(file)


def _read_whole(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def encoder_command(
    audio_format: AudioFormat, output: str, rate_hz: int = OUTPUT_SAMPLE_RATE_HZ
) -> list[str]:
    """ffmpeg's command line. `output`: the output as ffmpeg names it (`pipe:1`, `file:PATH`)."""
    source = ffmpeg.input("pipe:0", format="s16le", ar=OUTPUT_SAMPLE_RATE_HZ, ac=1, probesize="32")
    sink = source.output(
        output,
        threads=1,
        flush_packets=1,
        map_metadata=-1,
        fflags="+bitexact",
        ar=rate_hz,
        **_OUTPUTS[audio_format],
    )
    arguments: list[str] = sink.compile(cmd=str(find_ffmpeg()), overwrite_output=True)
    return [arguments[0], "-hide_banner", "-nostdin", "-loglevel", "quiet", *arguments[1:]]
