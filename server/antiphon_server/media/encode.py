"""Speech as s16le PCM → the bytes of the format that a client asked for.

In: mono samples at 24 kHz. Out: wav and pcm16 by hand; mp3, flac, opus (in Ogg) and aac (ADTS) from an ffmpeg
child that sees nothing but our own samples, works beside the event loop and is killed at its deadline.
A whole file states its length where its format has a place for it; a stream cannot.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import ffmpeg

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.errors import ServerFault
from antiphon_server.media.ffmpeg import find_ffmpeg
from antiphon_server.openai_api.options import AudioFormat

_READ_BYTES = 16_384
_OUTPUTS: dict[str, dict[str, str]] = {
    "mp3": {"format": "mp3", "acodec": "libmp3lame", "audio_bitrate": "96k", "id3v2_version": "0"},
    "flac": {"format": "flac", "acodec": "flac"},
    "opus": {"format": "ogg", "acodec": "libopus", "audio_bitrate": "48k", "page_duration": "100000"},
    "aac": {"format": "adts", "acodec": "aac", "audio_bitrate": "96k"},
}
# The length stands in front of the sound, where a stream has no way back to.
_STREAMED: dict[str, dict[str, str]] = {"mp3": {"write_xing": "0"}}


class SoundEncoder(Protocol):
    """Samples in, bytes out, as they come; `finish` gives what is left."""

    async def feed(self, pcm: bytes) -> bytes: ...

    async def finish(self) -> bytes: ...


class RawSound:
    """The samples themselves."""

    async def feed(self, pcm: bytes) -> bytes:
        return pcm

    async def finish(self) -> bytes:
        return b""


class FfmpegSound:
    """One ffmpeg child, started with the first samples. `feed` never waits for the encoder's own delay.

    `files`: descriptors that the child may write to.
    """

    def __init__(self, command: list[str], deadline_s: float, files: tuple[int, ...] = ()) -> None:
        self._command = command
        self._deadline_s = deadline_s
        self._files = files
        self._ready = bytearray()
        self._reader: asyncio.Task[None] | None = None
        self.child: asyncio.subprocess.Process | None = None

    async def feed(self, pcm: bytes) -> bytes:
        child = self.child or await self._start()
        try:
            async with asyncio.timeout(self._deadline_s):
                child.stdin.write(pcm)  # type: ignore[union-attr]  # it was started with pipes
                await child.stdin.drain()  # type: ignore[union-attr]
        except (TimeoutError, OSError):
            raise ServerFault("the speech could not be encoded") from None
        return self._take()

    async def finish(self) -> bytes:
        if self.child is None or self._reader is None:
            return b""
        self.child.stdin.close()  # type: ignore[union-attr]  # it was started with pipes
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._reader
                code = await self.child.wait()
        except TimeoutError:
            code = -1
        if code != 0:
            raise ServerFault("the speech could not be encoded")
        return self._take()

    async def close(self) -> None:
        if self.child is None or self._reader is None:
            return
        self._reader.cancel()
        if self.child.returncode is None:
            self.child.kill()
        await asyncio.gather(self._reader, self.child.wait(), return_exceptions=True)

    async def _start(self) -> asyncio.subprocess.Process:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self.child = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=nothing, pass_fds=self._files
        )
        self._reader = asyncio.create_task(self._read(self.child))
        return self.child

    def _take(self) -> bytes:
        ready = bytes(self._ready)
        self._ready.clear()
        return ready

    async def _read(self, child: asyncio.subprocess.Process) -> None:
        while data := await child.stdout.read(_READ_BYTES):  # type: ignore[union-attr]
            self._ready += data


@asynccontextmanager
async def open_encoder(audio_format: AudioFormat, deadline_s: float) -> AsyncIterator[SoundEncoder]:
    """An encoder for a stream. `wav` has its length in front and cannot be streamed: `encode` makes it."""
    if audio_format in ("pcm16", "wav"):
        yield RawSound()
        return
    sound = FfmpegSound(encoder_command(audio_format, "pipe:1", _STREAMED.get(audio_format, {})), deadline_s)
    try:
        yield sound
    finally:
        await sound.close()


async def encode(pcm: bytes, audio_format: AudioFormat, deadline_s: float) -> bytes:
    """A whole file. `pcm`: s16le, mono, 24 kHz. Raises ServerFault where ffmpeg fails or takes too long."""
    if audio_format == "wav":
        return wav_header(len(pcm)) + pcm
    if audio_format == "pcm16":
        return pcm
    file = os.memfd_create("speech", os.MFD_CLOEXEC)
    # By its descriptor, but a file all the same: the encoder goes back to write the length.
    sound = FfmpegSound(encoder_command(audio_format, f"file:/dev/fd/{file}", {}), deadline_s, (file,))
    try:
        await sound.feed(pcm)
        await sound.finish()
        return await asyncio.to_thread(_read_all, file)
    finally:
        await sound.close()
        os.close(file)


def _read_all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def wav_header(data_bytes: int) -> bytes:
    """The 44 bytes before s16le mono samples at 24 kHz (RIFF WAVE, format 1)."""
    rate = OUTPUT_SAMPLE_RATE_HZ
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + data_bytes, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", data_bytes),
    )


def encoder_command(audio_format: AudioFormat, output: str, options: dict[str, str]) -> list[str]:
    """`output` as ffmpeg names it, and what is to be done differently for it."""
    source = ffmpeg.input("pipe:0", format="s16le", ar=OUTPUT_SAMPLE_RATE_HZ, ac=1, probesize="32")
    sink = source.output(
        output,
        threads=1,
        flush_packets=1,
        map_metadata=-1,
        fflags="+bitexact",
        **_OUTPUTS[audio_format],
        **options,
    )
    arguments: list[str] = sink.compile(cmd=str(find_ffmpeg()), overwrite_output=True)
    return [arguments[0], "-hide_banner", "-nostdin", "-loglevel", "quiet", *arguments[1:]]
