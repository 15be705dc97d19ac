"""The file formats that are opened, each with its one demuxer and decoders, and those that are only named.

Decoders: all have been fuzzed for years as part of FFmpeg, are plain (tables and transforms of a stream of
bits), and run in the sandbox. ProRes, DTS, MPEG-2 and the like are left out as too rare.
"""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_server.media.source import MediaKind

_PCM = (
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
)
_ADPCM = ("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt")
_DOLBY = ("ac3", "eac3")
_PHONE = ("gsm", "gsm_ms", "amrnb", "amrwb")
_MPEG = ("mp3float", "mp3", "mp2float", "mp2")
_SOUND = ("aac", *_MPEG, "opus", "libopus", "vorbis", "flac", "alac", *_DOLBY, *_PCM, *_ADPCM, *_PHONE)
_SIGHT = ("h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mpeg4", "mjpeg", "h263")


@dataclass(frozen=True, slots=True)
class Format:
    """`name` completes "audio part 1 is ...". `demuxer`: libav's name, or Pillow's for a picture; empty for a
    format that is not opened. `kinds`: what it can hold, opened or not.
    """

    name: str
    kinds: tuple[MediaKind, ...] = ()
    demuxer: str = ""
    decoders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSign:
    """A format that is text: `marker` must stand somewhere in its head."""

    format: Format
    marker: bytes | None = None


_HEARD: tuple[MediaKind, ...] = ("audio",)
_SEEN: tuple[MediaKind, ...] = ("image",)
_FILM: tuple[MediaKind, ...] = ("audio", "video")

_WAV = Format("a WAV file", _HEARD, "wav", (*_PCM, *_ADPCM, "gsm_ms", "mp3float", "mp3"))
_W64 = Format("a Wave64 file", _HEARD, "w64", (*_PCM, *_ADPCM))
_AIFF = Format("an AIFF file", _HEARD, "aiff", (*_PCM, "adpcm_ima_qt", "gsm"))
_AU = Format("an AU file", _HEARD, "au", _PCM)
_CAF = Format(
    "a CAF file", _HEARD, "caf", ("aac", "alac", "opus", "libopus", "flac", "mp3float", *_PCM, *_ADPCM)
)
_AMR = Format("AMR sound", _HEARD, "amr", ("amrnb", "amrwb"))
_FLAC = Format("FLAC sound", _HEARD, "flac", ("flac",))
MP3 = Format("MP3 sound", _HEARD, "mp3", ("mp3float", "mp3"))
MP2 = Format("MP2 sound (MPEG layer I or II)", _HEARD)
ADTS = Format("AAC sound", _HEARD, "aac", ("aac",))
_OGG = Format("an Ogg file", _HEARD, "ogg", ("opus", "libopus", "vorbis", "flac", "speex"))
MP4 = Format("an MP4 or MOV file", _FILM, "mov", (*_SIGHT, *_SOUND))
_MATROSKA = Format("a WebM or Matroska file", _FILM, "matroska", (*_SIGHT, *_SOUND))
_AVI = Format("an AVI file", _FILM, "avi", (*_SIGHT, *_SOUND))
MPEG_TS = Format(
    "an MPEG transport stream", _FILM, "mpegts", ("h264", "hevc", "aac", *_MPEG, *_DOLBY, "opus")
)
_PICTURES = {
    name: Format(f"a {name} picture", _SEEN, pillow)
    for name, pillow in (("JPEG", "JPEG"), ("PNG", "PNG"), ("WebP", "WEBP"), ("GIF", "GIF"))
}
BMP = Format("a BMP picture", _SEEN, "BMP")
_TIFF = Format("a TIFF picture", _SEEN, "TIFF")
_AVIF = Format("an AVIF picture", _SEEN, "AVIF")

_HEIC = Format("a HEIC picture", _SEEN)
_RAW = Format("a camera's raw picture", _SEEN)
PLAIN_TEXT = Format("plain text")

ACCEPTED: dict[MediaKind, str] = {
    "audio": "WAV, MP3, FLAC, Ogg (Opus, Vorbis), AAC, AIFF, AMR, MP4/M4A or WebM/Matroska",
    "image": "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
    "video": "MP4/MOV, WebM/Matroska, AVI or MPEG-TS",
}
ACCEPTED_PICTURES = "H.264, H.265, VP8, VP9, AV1, MPEG-4 part 2, H.263 or Motion JPEG"
ACCEPTED_SOUND = "AAC, MP3, Opus, Vorbis, FLAC, ALAC, AC-3, AMR, ADPCM or PCM"

BRANDS: dict[bytes, Format] = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), _HEIC),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    b"crx ": _RAW,
}
# A QuickTime file of an older camera begins without a brand.
BIG_ENDIAN_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip"}

RIFF_KINDS: dict[tuple[bytes, bytes], Format] = {
    (b"RIFF", b"WAVE"): _WAV,
    (b"RF64", b"WAVE"): _WAV,
    (b"BW64", b"WAVE"): _WAV,
    (b"RIFX", b"WAVE"): Format("a big-endian WAV file (RIFX)", _HEARD),
    (b"RIFF", b"AVI "): _AVI,
    (b"RIFF", b"WEBP"): _PICTURES["WebP"],
    (b"RIFF", b"RMID"): Format("a MIDI file: notes, not sound"),
    (b"FORM", b"AIFF"): _AIFF,
    (b"FORM", b"AIFC"): _AIFF,
    (b"FORM", b"8SVX"): Format("an 8SVX file", _HEARD),
}

HEADS: tuple[tuple[bytes, Format], ...] = (
    (b"fLaC", _FLAC),
    (b"OggS", _OGG),
    (b"ID3", MP3),
    (b"\x1a\x45\xdf\xa3", _MATROSKA),
    (b"\xff\xd8\xff", _PICTURES["JPEG"]),
    (b"\x89PNG\r\n\x1a\n", _PICTURES["PNG"]),
    (b"GIF87a", _PICTURES["GIF"]),
    (b"GIF89a", _PICTURES["GIF"]),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"riff.\x91\xcf\x11", _W64),
    (b".snd", _AU),
    (b"caff\0", _CAF),
    (b"#!AMR", _AMR),
    (b"II+\0", Format("a BigTIFF picture", _SEEN)),
    (b"MM\0+", Format("a BigTIFF picture", _SEEN)),
    (b"8BPS", Format("a Photoshop picture (PSD)", _SEEN)),
    (b"\xff\x0a", Format("a JPEG XL picture", _SEEN)),
    (b"\0\0\0\x0cJXL ", Format("a JPEG XL picture", _SEEN)),
    (b"\0\0\0\x0cjP  ", Format("a JPEG 2000 picture", _SEEN)),
    (b"\xff\x4f\xff\x51", Format("a JPEG 2000 picture", _SEEN)),
    (b"\0\0\1\0", Format("an ICO picture", _SEEN)),
    (b"\x76\x2f\x31\x01", Format("an OpenEXR picture", _SEEN)),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIRO", _RAW),
    (b"%!PS", Format("a PostScript file")),
    (b"%PDF", Format("a PDF")),
    (b"MThd", Format("a MIDI file: notes, not sound")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Format("a Windows Media file (WMA, WMV)", _FILM)),
    (b"FLV\x01", Format("a Flash video (FLV)", _FILM)),
    (b"\0\0\1\xba", Format("an MPEG programme stream", _FILM)),
    (b"\0\0\1\xb3", Format("an MPEG-1 or MPEG-2 video", _FILM)),
    (b"\x06\x0e\x2b\x34", Format("an MXF file", _FILM)),
    (b".RMF", Format("a RealMedia file", _FILM)),
    (b"DKIF", Format("an IVF file", ("video",))),
    (b"\0\0\0\1", Format("a bare H.264 or H.265 stream", ("video",))),
    (b"wvpk", Format("WavPack sound", _HEARD)),
    (b"MAC ", Format("Monkey's Audio sound", _HEARD)),
    (b"DSD ", Format("DSD sound", _HEARD)),
    (b"TTA1", Format("TTA sound", _HEARD)),
    (b"MPCK", Format("Musepack sound", _HEARD)),
    (b"\x0b\x77", Format("bare AC-3 sound", _HEARD)),
    (b"\x7f\xfe\x80\x01", Format("bare DTS sound", _HEARD)),
    (b"\xf8\x06iamf", Format("IAMF sound", _HEARD)),
    (b"PK\3\4", Format("a ZIP file, or a document that is one (DOCX, XLSX, EPUB)")),
    (b"\x1f\x8b", Format("a gzip file")),
    (b"BZh", Format("a bzip2 file")),
    (b"\xfd7zXZ", Format("an xz file")),
    (b"\x28\xb5\x2f\xfd", Format("a Zstandard file")),
    (b"7z\xbc\xaf\x27\x1c", Format("a 7z file")),
    (b"Rar!", Format("a RAR file")),
    (b"\x7fELF", Format("a program")),
    (b"SQLite format 3", Format("a database")),
    (b"\xd0\xcf\x11\xe0", Format("an old Office document")),
)

_SVG = Format("an SVG drawing", _SEEN)
_HTML = Format("an HTML page")
_XML = Format("XML text")
_JSON = Format("JSON text")
TEXTS: tuple[tuple[bytes, TextSign], ...] = (
    (b"<svg", TextSign(_SVG)),
    (b"<", TextSign(_SVG, b"<svg")),
    (b"<!doctype html", TextSign(_HTML)),
    (b"<html", TextSign(_HTML)),
    (b"<", TextSign(_HTML, b"<html")),
    (b"<?xml", TextSign(_XML)),
    (b"{", TextSign(_JSON, b'"')),
    (b"[", TextSign(_JSON, b'"')),
    (b"#extm3u", TextSign(Format("a playlist (M3U8), not a file of sound or video"))),
    (b"data:", TextSign(Format("a data URL inside base64, not a file"), b",")),
    (b"http://", TextSign(Format("a URL inside base64, not a file"))),
    (b"https://", TextSign(Format("a URL inside base64, not a file"))),
)
