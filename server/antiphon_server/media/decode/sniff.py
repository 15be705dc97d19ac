"""Detection of a file's format by its first bytes, never by the name that the client gives.

The format fixes the demuxer and the decoders, so playlists, scripts and rare containers are never opened.
"""

from __future__ import annotations

from antiphon_server.media.decode.formats import (
    ADTS,
    BIG_ENDIAN_BOXES,
    BMP,
    BRANDS,
    HEADS,
    MP2,
    MP3,
    MP4,
    MPEG_TS,
    PLAIN_TEXT,
    RIFF_KINDS,
    TEXTS,
    Format,
)

_HEAD_BYTES = 1024
_TS_PACKETS = ((0, 188), (4, 192))
_TS_SIGNS = 3
_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")


def sniff(data: bytes) -> Format | None:
    """The format of `data`; None if it is unknown."""
    head = data[:_HEAD_BYTES]
    return _by_head(head) or _transport_stream(head) or _mpeg_audio(head) or _text(head)


def _by_head(head: bytes) -> Format | None:
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], MP4)
    if head[4:8] in BIG_ENDIAN_BOXES:
        return MP4
    if head[:4] in {b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM"}:
        return RIFF_KINDS.get((head[:4], head[8:12]))
    # "BM" also begins ordinary text, so the size of the next header must be a valid one too.
    if head[:2] == b"BM" and head[14:18] in _BMP_HEADERS:
        return BMP
    return next((found for sign, found in HEADS if head.startswith(sign)), None)


def _transport_stream(head: bytes) -> Format | None:
    """Packets that begin with 0x47: 188 bytes long, or 192 bytes with a timestamp before each."""
    for first, length in _TS_PACKETS:
        starts = head[first::length][:_TS_SIGNS]
        if len(starts) > 1 and starts.count(0x47) == len(starts):
            return MPEG_TS
    return None


def _mpeg_audio(head: bytes) -> Format | None:
    """By the two layer bits after an MPEG audio sync word: 0 is ADTS, 1 is layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return {0: ADTS, 1: MP3, 2: MP2, 3: MP2}[(head[1] >> 1) & 3] if head[1] != 0xFF else None


def _text(head: bytes) -> Format | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not start or any(byte < 0x20 and byte not in _TEXT_CONTROLS for byte in start):
        return None
    for sign, found in TEXTS:
        if start.startswith(sign) and (found.marker is None or found.marker in start):
            return found.format
    try:
        head.decode("utf-8", "strict" if len(head) < _HEAD_BYTES else "ignore")
    except UnicodeDecodeError:
        return None
    return PLAIN_TEXT
