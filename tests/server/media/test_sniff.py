"""The first bytes of a file decide its format; formats that are not decoded are named."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.errors import BadRequest
from antiphon_server.media.decode.formats import ACCEPTED
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaKind
from tests.server.media.media_samples import part

BMP = b"BM" + bytes(12) + struct.pack("<I", 40)
TRANSPORT_STREAM = (b"\x47" + bytes(187)) * 3


@pytest.mark.parametrize(
    ("head", "demuxer", "kinds"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "wav", ("audio",)),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav", ("audio",)),
        (b"BW64\xff\xff\xff\xffWAVEds64", "wav", ("audio",)),
        (b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0", "w64", ("audio",)),
        (b"FORM\0\0\0\0AIFFCOMM", "aiff", ("audio",)),
        (b"FORM\0\0\0\0AIFCFVER", "aiff", ("audio",)),
        (b"caff\0\1\0\0desc", "caf", ("audio",)),
        (b".snd\0\0\0\x18", "au", ("audio",)),
        (b"#!AMR\n", "amr", ("audio",)),
        (b"#!AMR-WB\n", "amr", ("audio",)),
        (b"RIFF\0\0\0\0AVI LIST", "avi", ("audio", "video")),
        (TRANSPORT_STREAM, "mpegts", ("audio", "video")),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WEBP", ("image",)),
        (b"fLaC\0\0\0\x22", "flac", ("audio",)),
        (b"OggS\0\x02", "ogg", ("audio",)),
        (b"ID3\x04\0", "mp3", ("audio",)),
        (b"\xff\xfb\x90\x64", "mp3", ("audio",)),
        (b"\xff\xf3\x40\xc4", "mp3", ("audio",)),
        (b"\xff\xf1\x50\x80", "aac", ("audio",)),
        (b"\0\0\0\x20ftypM4A ", "mov", ("audio", "video")),
        (b"\0\0\0\x20ftypqt  ", "mov", ("audio", "video")),
        (b"\0\0\0\x20moov", "mov", ("audio", "video")),
        (b"\x1a\x45\xdf\xa3\x9f", "matroska", ("audio", "video")),
        (b"\xff\xd8\xff\xe0", "JPEG", ("image",)),
        (b"\x89PNG\r\n\x1a\n", "PNG", ("image",)),
        (b"GIF89a", "GIF", ("image",)),
        (BMP, "BMP", ("image",)),
        (b"II*\0\x08", "TIFF", ("image",)),
        (b"MM\0*\0", "TIFF", ("image",)),
        (b"\0\0\0\x20ftypavif", "AVIF", ("image",)),
    ],
)
def test_signatures(head: bytes, demuxer: str, kinds: tuple[str, ...]) -> None:
    found = sniff(head + bytes(32))
    assert found is not None
    assert (found.demuxer, found.kinds) == (demuxer, kinds)
    assert bool(found.decoders) == ("image" not in kinds)


NAMED: dict[str, tuple[bytes, MediaKind]] = {
    "a HEIC image": (b"\0\0\0\x24ftypheic" + bytes(8), "image"),
    "a camera's raw image": (b"\0\0\0\x18ftypcrx " + bytes(8), "image"),
    "an SVG drawing": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "image"),
    "a Photoshop image (PSD)": (b"8BPS\0\1" + bytes(20), "image"),
    "a JPEG XL image": (b"\xff\x0a\xfa\x1f" + bytes(20), "image"),
    "a JPEG 2000 image": (b"\0\0\0\x0cjP  \r\n\x87\n", "image"),
    "an ICO image": (b"\0\0\1\0\1\0" + bytes(20), "image"),
    "a PDF": (b"%PDF-1.7\n", "image"),
    "a PostScript file": (b"%!PS-Adobe-3.0\n", "image"),
    "an HTML page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "image"),
    "XML text": (b"<?xml version='1.0'?><a/>", "audio"),
    "JSON text": (b'{"error": "not found"}', "audio"),
    "plain text": (b"What is seven plus five?", "audio"),
    "a data URL inside base64, not a file": (b"data:audio/wav;base64,UklGRg==", "audio"),
    "a URL inside base64, not a file": (b"https://example.com/a.wav", "audio"),
    "a playlist (M3U8), not an audio or video file": (b"#EXTM3U\n#EXTINF:1,\na.ts\n", "video"),
    "a ZIP file, or a document that is one (DOCX, XLSX, EPUB)": (b"PK\3\4\x14\0", "audio"),
    "a gzip file": (b"\x1f\x8b\x08\0", "audio"),
    "a Windows Media file (WMA, WMV)": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "video"),
    "a Flash video (FLV)": (b"FLV\x01\x05\0\0\0\x09", "video"),
    "an MPEG programme stream": (b"\0\0\1\xba\x44\0", "video"),
    "a big-endian WAV file (RIFX)": (b"RIFX\0\0\0\0WAVEfmt ", "audio"),
    "a MIDI file: notes, not audio": (b"MThd\0\0\0\6", "audio"),
    "MP2 audio (MPEG layer I or II)": (b"\xff\xfd\x90\x04", "audio"),
    "WavPack audio": (b"wvpk" + bytes(8), "audio"),
}


@pytest.mark.parametrize("name", NAMED)
async def test_a_format_that_is_not_accepted_is_named(loader: MediaLoader, name: str) -> None:
    data, kind = NAMED[name]
    with pytest.raises(BadRequest) as refusal:
        await loader.load([part(kind, data)])
    assert refusal.value.message == f"{kind} part 1 is {name}. Send {ACCEPTED[kind]}."
    assert refusal.value.code == "media_format_unsupported"


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("video", b"ID3\x04\0", "is MP3 audio, which contains no video. Send it as input_audio, or"),
        ("video", b"GIF89a", "is a GIF image, which contains no video. Send it as image_url, or"),
        ("audio", b"\xff\xd8\xff\xe0", "is a JPEG image, which contains no audio. Send it as image_url, or"),
        ("image", b"\0\0\0\x20ftypisom", "is an MP4 or MOV file. Send it as video_url, or"),
        ("image", b"ID3\x04\0", "is MP3 audio. Send it as input_audio, or"),
    ],
)
async def test_the_error_names_the_right_part_type_for_a_file(
    loader: MediaLoader, kind: MediaKind, data: bytes, message: str
) -> None:
    with pytest.raises(BadRequest) as refusal:
        await loader.load([part(kind, data + bytes(16))])
    assert f"{kind} part 1 {message}" in refusal.value.message


async def test_a_frame_that_is_no_image_is_named(loader: MediaLoader) -> None:
    with pytest.raises(BadRequest, match=r"video part 1 has a frame that is a PDF\. Send JPEG"):
        await loader.load([part("video", b"%PDF-1.7\n", is_frame_list=True)])


@pytest.mark.parametrize(
    "head",
    [b"", b"\xff", b"\xff\xff\0\0", b"BMxxxx\x81\x82", b"\x47" + b"\x80" * 187, bytes(64), b"\x80\x81"],
)  # fmt: skip
def test_unknown_bytes_have_no_format(head: bytes) -> None:
    assert sniff(head) is None


@given(st.binary(max_size=64))
def test_any_bytes_are_one_known_format_or_none(data: bytes) -> None:
    found = sniff(data)
    assert found is None or not found.demuxer or set(found.kinds) <= set(ACCEPTED)
