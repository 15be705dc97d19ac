"""The file formats that are decoded, each with one demuxer and its decoders, and formats that are only named.

All decoders belong to FFmpeg's fuzzed set, are simple (tables and transforms of a bit stream), and run in
the sandbox. ProRes, DTS, MPEG-2 and similar codecs are left out because they are rare.
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
_TELEPHONY = ("gsm", "gsm_ms", "amrnb", "amrwb")
_MPEG = ("mp3float", "mp3", "mp2float", "mp2")
_AUDIO_CODECS = (
    "aac",
    *_MPEG,
    "opus",
    "libopus",
    "vorbis",
    "flac",
    "alac",
    *_DOLBY,
    *_PCM,
    *_ADPCM,
    *_TELEPHONY,
)
_VIDEO_CODECS = ("h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mpeg4", "mjpeg", "h263")


@dataclass(frozen=True, slots=True)
class Format:
    """A file format. `name` completes "audio part 1 is ...". `kinds`: what it can contain, decoded or not.

    `demuxer`: libav's name, or Pillow's for an image; empty if the format is not decoded.
    """

    name: str
    kinds: tuple[MediaKind, ...] = ()
    demuxer: str = ""
    decoders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSignature:
    """Recognition of a text format: the start of the file must contain `marker`, if there is one."""

    format: Format
    marker: bytes | None = None


_AUDIO: tuple[MediaKind, ...] = ("audio",)
_IMAGE: tuple[MediaKind, ...] = ("image",)
_AUDIO_VIDEO: tuple[MediaKind, ...] = ("audio", "video")

_WAV = Format("a WAV file", _AUDIO, "wav", (*_PCM, *_ADPCM, "gsm_ms", "mp3float", "mp3"))
_W64 = Format("a Wave64 file", _AUDIO, "w64", (*_PCM, *_ADPCM))
_AIFF = Format("an AIFF file", _AUDIO, "aiff", (*_PCM, "adpcm_ima_qt", "gsm"))
_AU = Format("an AU file", _AUDIO, "au", _PCM)
_CAF = Format(
    "a CAF file", _AUDIO, "caf", ("aac", "alac", "opus", "libopus", "flac", "mp3float", *_PCM, *_ADPCM)
)
_AMR = Format("AMR audio", _AUDIO, "amr", ("amrnb", "amrwb"))
_FLAC = Format("FLAC audio", _AUDIO, "flac", ("flac",))
MP3 = Format("MP3 audio", _AUDIO, "mp3", ("mp3float", "mp3"))
MP2 = Format("MP2 audio (MPEG layer I or II)", _AUDIO)
ADTS = Format("AAC audio", _AUDIO, "aac", ("aac",))
_OGG = Format("an Ogg file", _AUDIO, "ogg", ("opus", "libopus", "vorbis", "flac", "speex"))
MP4 = Format("an MP4 or MOV file", _AUDIO_VIDEO, "mov", (*_VIDEO_CODECS, *_AUDIO_CODECS))
_MATROSKA = Format("a WebM or Matroska file", _AUDIO_VIDEO, "matroska", (*_VIDEO_CODECS, *_AUDIO_CODECS))
_AVI = Format("an AVI file", _AUDIO_VIDEO, "avi", (*_VIDEO_CODECS, *_AUDIO_CODECS))
MPEG_TS = Format(
    "an MPEG transport stream", _AUDIO_VIDEO, "mpegts", ("h264", "hevc", "aac", *_MPEG, *_DOLBY, "opus")
)
_IMAGES = {
    name: Format(f"a {name} image", _IMAGE, pillow)
    for name, pillow in (("JPEG", "JPEG"), ("PNG", "PNG"), ("WebP", "WEBP"), ("GIF", "GIF"))
}
BMP = Format("a BMP image", _IMAGE, "BMP")
_TIFF = Format("a TIFF image", _IMAGE, "TIFF")
_AVIF = Format("an AVIF image", _IMAGE, "AVIF")

_HEIC = Format("a HEIC image", _IMAGE)
_RAW = Format("a camera's raw image", _IMAGE)
PLAIN_TEXT = Format("plain text")

ACCEPTED: dict[MediaKind, str] = {
    "audio": "WAV, MP3, FLAC, Ogg (Opus, Vorbis), AAC, AIFF, AMR, MP4/M4A or WebM/Matroska",
    "image": "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF",
    "video": "MP4/MOV, WebM/Matroska, AVI or MPEG-TS",
}
ACCEPTED_VIDEO_CODECS = "H.264, H.265, VP8, VP9, AV1, MPEG-4 part 2, H.263 or Motion JPEG"
ACCEPTED_AUDIO_CODECS = "AAC, MP3, Opus, Vorbis, FLAC, ALAC, AC-3, AMR, ADPCM or PCM"

BRANDS: dict[bytes, Format] = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), _HEIC),
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    b"crx ": _RAW,
}
# QuickTime files of older cameras begin with one of these boxes instead of a brand.
BIG_ENDIAN_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip"}

RIFF_KINDS: dict[tuple[bytes, bytes], Format] = {
    (b"RIFF", b"WAVE"): _WAV,
    (b"RF64", b"WAVE"): _WAV,
    (b"BW64", b"WAVE"): _WAV,
    (b"RIFX", b"WAVE"): Format("a big-endian WAV file (RIFX)", _AUDIO),
    (b"RIFF", b"AVI "): _AVI,
    (b"RIFF", b"WEBP"): _IMAGES["WebP"],
    (b"RIFF", b"RMID"): Format("a MIDI file: notes, not audio"),
    (b"FORM", b"AIFF"): _AIFF,
    (b"FORM", b"AIFC"): _AIFF,
    (b"FORM", b"8SVX"): Format("an 8SVX file", _AUDIO),
}

HEADS: tuple[tuple[bytes, Format], ...] = (
    (b"fLaC", _FLAC),
    (b"OggS", _OGG),
    (b"ID3", MP3),
    (b"\x1a\x45\xdf\xa3", _MATROSKA),
    (b"\xff\xd8\xff", _IMAGES["JPEG"]),
    (b"\x89PNG\r\n\x1a\n", _IMAGES["PNG"]),
    (b"GIF87a", _IMAGES["GIF"]),
    (b"GIF89a", _IMAGES["GIF"]),
    (b"II*\0", _TIFF),
    (b"MM\0*", _TIFF),
    (b"riff.\x91\xcf\x11", _W64),
    (b".snd", _AU),
    (b"caff\0", _CAF),
    (b"#!AMR", _AMR),
    (b"II+\0", Format("a BigTIFF image", _IMAGE)),
    (b"MM\0+", Format("a BigTIFF image", _IMAGE)),
    (b"8BPS", Format("a Photoshop image (PSD)", _IMAGE)),
    (b"\xff\x0a", Format("a JPEG XL image", _IMAGE)),
    (b"\0\0\0\x0cJXL ", Format("a JPEG XL image", _IMAGE)),
    (b"\0\0\0\x0cjP  ", Format("a JPEG 2000 image", _IMAGE)),
    (b"\xff\x4f\xff\x51", Format("a JPEG 2000 image", _IMAGE)),
    (b"\0\0\1\0", Format("an ICO image", _IMAGE)),
    (b"\x76\x2f\x31\x01", Format("an OpenEXR image", _IMAGE)),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIRO", _RAW),
    (b"%!PS", Format("a PostScript file")),
    (b"%PDF", Format("a PDF")),
    (b"MThd", Format("a MIDI file: notes, not audio")),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Format("a Windows Media file (WMA, WMV)", _AUDIO_VIDEO)),
    (b"FLV\x01", Format("a Flash video (FLV)", _AUDIO_VIDEO)),
    (b"\0\0\1\xba", Format("an MPEG programme stream", _AUDIO_VIDEO)),
    (b"\0\0\1\xb3", Format("an MPEG-1 or MPEG-2 video", _AUDIO_VIDEO)),
    (b"\x06\x0e\x2b\x34", Format("an MXF file", _AUDIO_VIDEO)),
    (b".RMF", Format("a RealMedia file", _AUDIO_VIDEO)),
    (b"DKIF", Format("an IVF file", ("video",))),
    (b"\0\0\0\1", Format("a bare H.264 or H.265 stream", ("video",))),
    (b"wvpk", Format("WavPack audio", _AUDIO)),
    (b"MAC ", Format("Monkey's Audio audio", _AUDIO)),
    (b"DSD ", Format("DSD audio", _AUDIO)),
    (b"TTA1", Format("TTA audio", _AUDIO)),
    (b"MPCK", Format("Musepack audio", _AUDIO)),
    (b"\x0b\x77", Format("bare AC-3 audio", _AUDIO)),
    (b"\x7f\xfe\x80\x01", Format("bare DTS audio", _AUDIO)),
    (b"\xf8\x06iamf", Format("IAMF audio", _AUDIO)),
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

_SVG = Format("an SVG drawing", _IMAGE)
_HTML = Format("an HTML page")
_XML = Format("XML text")
_JSON = Format("JSON text")
TEXTS: tuple[tuple[bytes, TextSignature], ...] = (
    (b"<svg", TextSignature(_SVG)),
    (b"<", TextSignature(_SVG, b"<svg")),
    (b"<!doctype html", TextSignature(_HTML)),
    (b"<html", TextSignature(_HTML)),
    (b"<", TextSignature(_HTML, b"<html")),
    (b"<?xml", TextSignature(_XML)),
    (b"{", TextSignature(_JSON, b'"')),
    (b"[", TextSignature(_JSON, b'"')),
    (b"#extm3u", TextSignature(Format("a playlist (M3U8), not an audio or video file"))),
    (b"data:", TextSignature(Format("a data URL inside base64, not a file"), b",")),
    (b"http://", TextSignature(Format("a URL inside base64, not a file"))),
    (b"https://", TextSignature(Format("a URL inside base64, not a file"))),
)
