"""Files that would become huge, or are not what they look like: refused soon, and nothing else happens."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections.abc import AsyncIterator

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from PIL import Image

from antiphon_server.errors import BadRequest
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.source import MediaKind
from tests.machine import Patience
from tests.server.media.media_samples import ffmpeg, image_file, part, running_decoders

pytestmark = pytest.mark.heavy

_LONGEST_S = 12.0


@pytest_asyncio.fixture(scope="module")
async def strict() -> AsyncIterator[MediaLoader]:
    loader = MediaLoader(MediaPolicy(decode_s=8.0, audio_seconds=60, video_seconds=60))
    await loader.start()
    yield loader
    await loader.close()


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(10_000_000), 9)
    start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    return start + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def huge_text_png() -> bytes:
    plain = image_file(Image.new("RGB", (40, 40)), "PNG")
    text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 27), 9))
    return plain[:33] + text + plain[33:]


def many_frames_gif() -> bytes:
    plain = image_file(Image.new("L", (40, 40)), "GIF")
    frame = plain[13 + 3 * 2 ** ((plain[10] & 7) + 1) : -1]
    assert frame[0] == 0x2C, "an image descriptor follows the palette"
    return plain[:-1] + frame * 200_000 + b"\x3b"


def long_opus() -> bytes:
    """Three minutes of silence in a few kilobytes."""
    silence = "anullsrc=r=48000:cl=mono:d=180"
    options = (
        "-c:a",
        "libopus",
        "-b:a",
        "6k",
        "-vbr",
        "on",
        "-frame_duration",
        "60",
        "-application",
        "lowdelay",
    )
    return ffmpeg("-f", "lavfi", "-i", silence, *options, suffix="opus")


def huge_frames_mp4() -> bytes:
    """4,096 x 4,096 pixels a frame, by a header that lies about nothing."""
    options = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-frames:v", "1")
    return ffmpeg("-f", "lavfi", "-i", "color=black:s=4096x4096", *options, suffix="mp4")


def stretched_video() -> bytes:
    """Two frames, a day apart."""
    options = ("-vf", "setpts=N*86400/TB", "-fps_mode", "passthrough", "-c:v", "libx264", "-frames:v", "2")
    return ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:r=1", *options, suffix="mkv")


def tiny_packets(kind: MediaKind) -> bytes:
    """1,800,000 packets of one byte in 13 MB: each costs memory of its own."""
    picture_options = ("-f", "lavfi", "-i", "testsrc=s=64x64:d=0.5:r=10", "-c:v", "libvpx")
    options = picture_options if kind == "video" else ()
    plain = ffmpeg(*options, "-f", "lavfi", "-i", "sine=440:d=0.5:r=48000", "-c:a", "libopus", suffix="webm")
    segment, cluster = plain.index(b"\x18\x53\x80\x67"), plain.index(b"\x1f\x43\xb6\x75")
    # A segment of unknown length goes on with what is appended.
    head = plain[: segment + 4] + b"\x01" + b"\xff" * 7 + plain[segment + 12 :]
    track = bytes([0x82 if kind == "video" else 0x81])
    blocks = b"".join(b"\xa3\x85" + track + struct.pack(">h", n) + b"\x80\x08" for n in range(30_000))
    size = (len(blocks) + 6).to_bytes(7, "big")
    starts = (b"\xe7\x84" + struct.pack(">I", 1_000 + n) for n in range(60))
    assert cluster > segment
    return head + b"".join(b"\x1f\x43\xb6\x75\x01" + size + start + blocks for start in starts)


async def refused(loader: MediaLoader, kind: MediaKind, data: bytes, match: str) -> None:
    before = psutil.Process().memory_info().rss
    patience = Patience(_LONGEST_S)
    with pytest.raises(BadRequest, match=match):
        await loader.load([part(kind, data)])
    assert not patience.is_over()
    assert psutil.Process().memory_info().rss - before < 64 << 20


async def test_an_image_of_60000_by_60000_pixels(strict: MediaLoader) -> None:
    await refused(strict, "image", huge_png(), "60000 x 60000 pixels; limit is 50000000 pixels")


async def test_a_png_with_a_text_bomb_is_refused_or_shown_without_it(strict: MediaLoader) -> None:
    await refused(strict, "image", huge_text_png(), "could not be decoded")


async def test_a_gif_of_200000_frames_shows_its_first(strict: MediaLoader) -> None:
    data = many_frames_gif()
    assert len(data) > 1_000_000
    patience = Patience(_LONGEST_S)
    media = await strict.load([part("image", data)])
    assert media.images[0].pixels.shape == (40, 40, 3)
    assert not patience.is_over()


async def test_three_minutes_of_opus_in_a_few_bytes(strict: MediaLoader) -> None:
    await refused(strict, "audio", long_opus(), "is 180 s; limit is 60 s")


async def test_frames_of_16_million_pixels(strict: MediaLoader) -> None:
    await refused(strict, "video", huge_frames_mp4(), "has 4096 x 4096 pixels; limit is 9437184 pixels")


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_more_packets_than_any_film_has(strict: MediaLoader, kind: MediaKind) -> None:
    peak_bytes = 0
    task = asyncio.create_task(
        refused(strict, kind, tiny_packets(kind), "could not be decoded|limit is 60 s")
    )
    while not task.done():
        await asyncio.sleep(0.02)
        for pid in running_decoders():
            with contextlib.suppress(psutil.Error):
                peak_bytes = max(peak_bytes, psutil.Process(pid).memory_info().rss)
    await task
    assert 0 < peak_bytes < 600 << 20


async def test_a_video_of_two_frames_and_a_day(strict: MediaLoader) -> None:
    await refused(strict, "video", stretched_video(), r"is 864\d\d s; limit is 60 s")


PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "iamf": b"\xf8\x06iamf\0\0" + bytes(64),
    "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "text": b"hello",
    "noise": bytes(range(128, 160)),
}


@pytest.mark.parametrize("kind", ["audio", "image", "video"])
@pytest.mark.parametrize("form", PLAYLISTS)
async def test_formats_that_are_not_listed_reach_no_decoder(
    strict: MediaLoader, monkeypatch: pytest.MonkeyPatch, kind: MediaKind, form: str
) -> None:
    monkeypatch.setattr(Sandbox, "run_job", None)
    with pytest.raises(BadRequest, match=f"{kind} part 1 is ") as refusal:
        await strict.load([part(kind, PLAYLISTS[form])])
    assert refusal.value.code == "media_format_unsupported"


@pytest.mark.parametrize(
    "head", [b"RIFF\x40\0\0\0WAVE", b"OggS", b"fLaC", b"ID3", b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3"]
)
async def test_a_playlist_behind_a_good_head_opens_nothing(strict: MediaLoader, head: bytes) -> None:
    await refused(strict, "audio", head + PLAYLISTS["hls"] + PLAYLISTS["concat"], "audio part 1")


async def test_after_all_that_the_next_request_is_fine(strict: MediaLoader) -> None:
    data = image_file(Image.new("RGB", (40, 40)), "PNG")
    assert len((await strict.load([part("image", data)])).images) == 1
