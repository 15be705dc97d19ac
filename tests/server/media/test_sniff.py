"""A file is what its first bytes say, and nothing else is opened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.sniff import ACCEPTED, sniff


@pytest.mark.parametrize(
    ("head", "demuxer", "kinds"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "wav", ("audio",)),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP", ("image",)),
        (b"fLaC\0\0\0\x22", "flac", ("audio",)),
        (b"OggS\0\x02", "ogg", ("audio",)),
        (b"ID3\x04\0", "mp3", ("audio",)),
        (b"\xff\xfb\x90\x64", "mp3", ("audio",)),
        (b"\xff\xf3\x40\xc4", "mp3", ("audio",)),
        (b"\xff\xf1\x50\x80", "aac", ("audio",)),
        (b"\0\0\0\x20ftypM4A ", "mov", ("audio", "video")),
        (b"\x1a\x45\xdf\xa3\x9f", "matroska", ("audio", "video")),
        (b"\xff\xd8\xff\xe0", "JPEG", ("image",)),
        (b"\x89PNG\r\n\x1a\n", "PNG", ("image",)),
        (b"GIF89a", "GIF", ("image",)),
    ],
)
def test_signatures(head: bytes, demuxer: str, kinds: tuple[str, ...]) -> None:
    container = sniff(head + bytes(32))
    assert container is not None
    assert (container.demuxer, container.kinds) == (demuxer, kinds)
    assert bool(container.decoders) == ("image" not in kinds)


@pytest.mark.parametrize(
    "head",
    [b"", b"R", b"RIFF\0\0\0\0AVI ", b"RIFX\0\0\0\0WAVE", b"#EXTM3U", b"ffconcat",
     b"\xff", b"\xff\xfd\0\0", b"\xff\xff\0\0",
     b"BM", b"II*\0", b"%PDF", b"<svg", b"\0\0\0\x0cjP  ",
     b"\0\0\0\x20moov", b"FLV\x01", b"\x47" + bytes(187)],
)  # fmt: skip
def test_everything_else_is_nothing(head: bytes) -> None:
    assert sniff(head) is None


@given(st.binary(max_size=64))
def test_any_bytes_are_one_listed_format_or_none(data: bytes) -> None:
    container = sniff(data)
    assert container is None or set(container.kinds) <= set(ACCEPTED)
