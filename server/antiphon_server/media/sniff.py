"""What a file is, by its first bytes; never by what the client calls it.

In: encoded bytes. Out: the one demuxer and the decoders that may touch them. A format that is not here is
never opened, so playlists, scripts and exotic containers cannot be reached at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antiphon_server.media.source import MediaKind

_PCM = ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw")
_SOUND = ("aac", "mp3float", "mp3", "opus", "libopus", "vorbis", "flac", "alac", *_PCM)
_SIGHT = ("h264", "hevc", "vp8", "vp9", "libdav1d", "av1")


@dataclass(frozen=True, slots=True)
class Container:
    """A file format that we open. `demuxer` is ffmpeg's name, or Pillow's for a picture."""

    demuxer: str
    kinds: tuple[MediaKind, ...]
    decoders: tuple[str, ...] = ()


_WAV = Container("wav", ("audio",), _PCM)
_FLAC = Container("flac", ("audio",), ("flac",))
_MP3 = Container("mp3", ("audio",), ("mp3float", "mp3"))
_ADTS = Container("aac", ("audio",), ("aac",))
_OGG = Container("ogg", ("audio",), ("opus", "libopus", "vorbis", "flac"))
_MP4 = Container("mov", ("audio", "video"), (*_SIGHT, *_SOUND))
_MATROSKA = Container("matroska", ("audio", "video"), (*_SIGHT, *_SOUND))
_JPEG, _PNG, _WEBP, _GIF = (Container(name, ("image",)) for name in ("JPEG", "PNG", "WEBP", "GIF"))

_SIGNS: tuple[tuple[Callable[[bytes], bool], Container], ...] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WAVE", _WAV),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"WEBP", _WEBP),
    (lambda head: head[:4] == b"fLaC", _FLAC),
    (lambda head: head[:4] == b"OggS", _OGG),
    (lambda head: head[:3] == b"ID3", _MP3),
    (lambda head: head[4:8] == b"ftyp", _MP4),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _MATROSKA),
    (lambda head: head[:3] == b"\xff\xd8\xff", _JPEG),
    (lambda head: head[:8] == b"\x89PNG\r\n\x1a\n", _PNG),
    (lambda head: head[:6] in {b"GIF87a", b"GIF89a"}, _GIF),
    (lambda head: _mpeg_layer(head) == 0, _ADTS),
    (lambda head: _mpeg_layer(head) == 1, _MP3),
)

ACCEPTED: dict[MediaKind, str] = {
    "audio": "WAV, MP3, FLAC, Ogg (Opus, Vorbis), AAC, MP4/M4A or WebM/Matroska",
    "image": "JPEG, PNG, WebP or GIF",
    "video": "MP4/MOV or WebM/Matroska (H.264, H.265, VP8, VP9 or AV1)",
}


def _mpeg_layer(head: bytes) -> int | None:
    """The two layer bits after an MPEG audio sync word: 0 is ADTS, 1 is layer III."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return (head[1] >> 1) & 3


def sniff(data: bytes) -> Container | None:
    """The container of `data`, or None where it is not one that we open."""
    head = data[:16]
    return next((container for matches, container in _SIGNS if matches(head)), None)
