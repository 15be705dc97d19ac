"""Media that are small to send and large to decode, or whose headers lie: each in a few sizes.

Out: named chat parts, made by ffmpeg, Pillow and a few bytes of our own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tests.server.media.media_samples import base64_of, ffmpeg, image_file, tone, wav

Part = dict[str, Any]


def bombs() -> Iterator[tuple[str, Part]]:
    """At least 60."""
    yield from _pictures()
    yield from _sounds()
    yield from _films()
    yield from _lies()


def image_part(data: bytes) -> Part:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64_of(data)}}


def _audio_part(data: bytes) -> Part:
    return {"type": "input_audio", "input_audio": {"data": base64_of(data), "format": "wav"}}


def _video_part(data: bytes) -> Part:
    return {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64_of(data)}}


def _png(width: int, height: int, rows: int) -> bytes:
    """A PNG whose header claims a size, with only `rows` black rows."""
    packer, packed = zlib.compressobj(9), b""
    for _ in range(rows):
        packed += packer.compress(bytes(1 + 3 * width))
    packed += packer.flush()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _pictures() -> Iterator[tuple[str, Part]]:
    for side in (7_000, 20_000, 60_000):
        yield f"PNG {side} square", image_part(_png(side, side, 200))
    for side in (3_000, 7_000):
        yield f"PNG {side} square, whole", image_part(_png(side, side, side))
    for width, height in ((1, 60_000), (60_000, 1), (2**31 - 1, 1), (0, 0), (1, 1)):
        yield f"PNG {width} x {height}", image_part(_png(width, height, 1))
    one = Image.new("RGB", (64, 64))
    for frames in (200, 2_000):
        gif = image_file(
            one, "GIF", save_all=True, append_images=[one.copy() for _ in range(frames)], duration=1
        )
        yield f"GIF of {frames} frames", image_part(gif)
        webp = image_file(one, "WEBP", save_all=True, append_images=[one.copy() for _ in range(frames // 4)])
        yield f"WebP of {frames // 4} frames", image_part(webp)
    large = image_file(Image.new("L", (16_000, 16_000)), "JPEG", quality=1)
    yield "JPEG 16,000 square", image_part(large)
    yield (
        "progressive JPEG",
        image_part(image_file(Image.new("RGB", (6_000, 6_000)), "JPEG", progressive=True)),
    )


def _sounds() -> Iterator[tuple[str, Part]]:
    silence = ("-f", "lavfi", "-i", "anullsrc=r=48000:cl=mono:d=60")
    minute = ffmpeg(*silence, "-c:a", "libopus", "-b:a", "500", "-frame_duration", "60", suffix="ogg")
    repeated = ("-stream_loop", "479", "-i", "a.ogg")
    for seconds in (299, 301, 3_600, 28_800):
        source = ("-f", "lavfi", "-i", f"anullsrc=r=48000:cl=mono:d={seconds}")
        if seconds < 10_000:
            yield f"FLAC {seconds} s", _audio_part(ffmpeg(*source, "-c:a", "flac", suffix="flac"))
            yield f"MP3 {seconds} s", _audio_part(ffmpeg(*source, "-b:a", "8k", "-ar", "8000", suffix="mp3"))
        opus = ffmpeg(*repeated, "-t", str(seconds), "-c", "copy", suffix="ogg", files={"a.ogg": minute})
        yield f"Opus {seconds} s", _audio_part(opus)
    small = wav(tone(0.2, 16_000)[None, :], 16_000)
    for size in (2**31, 2**32 - 1, 0):
        yield f"WAV that claims {size} bytes", _audio_part(small[:40] + struct.pack("<I", size) + small[44:])
    for channels, rate in ((1, 2**31 - 1), (65_535, 16_000), (0, 16_000), (1, 0), (255, 192_000)):
        fields = struct.pack("<HHIIHH", 1, channels, rate, 2**32 - 1, 2, 16)
        yield f"WAV {channels} channels at {rate} Hz", _audio_part(small[:20] + fields + small[36:])


def _films() -> Iterator[tuple[str, Part]]:
    made = (
        (
            "MP4 10,000 frames",
            "color=s=16x16:r=1000:d=10",
            ("-c:v", "libx264", "-preset", "ultrafast"),
            "mp4",
        ),
        ("MP4 one frame an hour", "color=s=64x64:r=1/3600:d=36000", ("-c:v", "libx264"), "mp4"),
        ("MP4 4096 x 2304", "color=s=4096x2304:r=1:d=20", ("-c:v", "libx264", "-preset", "ultrafast"), "mp4"),
        ("MP4 2 x 2", "color=s=2x2:r=1:d=3", ("-c:v", "libx264"), "mp4"),
        ("MP4 of 700 s", "color=s=64x64:r=1:d=700", ("-c:v", "libx264"), "mp4"),
        ("WebM of 700 s", "color=s=64x64:r=1:d=700", ("-c:v", "libvpx", "-b:v", "10k"), "webm"),
        ("MJPEG 30 fps", "color=s=1280x720:r=30:d=20", ("-c:v", "mjpeg"), "mov"),
    )
    for name, source, codec, suffix in made:
        film = ffmpeg("-f", "lavfi", "-i", source, *codec, suffix=suffix)
        yield name, _video_part(film)
        yield f"{name}, cut", _video_part(film[: len(film) * 2 // 3])
        yield f"{name}, as sound", _audio_part(film)


def _lies() -> Iterator[tuple[str, Part]]:
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    script = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    vector = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    for name, data in (
        ("HLS playlist", playlist), ("concat script", script), ("SVG", vector), ("zeros", bytes(4_096)),
        ("PDF", b"%PDF-1.7\n" + bytes(100)), ("ZIP", b"PK\x03\x04" + bytes(100)),
        ("HTML", b"<!doctype html><p>x"),
        ("ftyp alone", b"\0\0\0\x18ftypisom" + bytes(12)), ("EBML alone", b"\x1a\x45\xdf\xa3" + bytes(60)),
        ("RIFF alone", b"RIFF\xff\xff\xff\xffWAVE"), ("OggS alone", b"OggS" + bytes(40)),
    ):  # fmt: skip
        for kind, part in (("audio", _audio_part), ("image", image_part), ("video", _video_part)):
            yield f"{name} as {kind}", part(data)
