"""The errors for files that are not decoded: the cause, the limit, and what to send or to configure instead.

They never contain text from the file or from a decoder.
"""

from __future__ import annotations

import math

from antiphon_server.errors import BadRequest
from antiphon_server.media.decode.formats import (
    ACCEPTED,
    ACCEPTED_AUDIO_CODECS,
    ACCEPTED_VIDEO_CODECS,
    Format,
)
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import DecodeReport
from antiphon_server.media.source import MediaKind

_PART_TYPES: dict[MediaKind, str] = {"audio": "input_audio", "image": "image_url", "video": "video_url"}

# Common names of codecs that are not decoded.
_CODECS = {
    "ac4": "AC-4", "cinepak": "Cinepak", "dnxhd": "DNxHD", "dts": "DTS", "dvvideo": "DV", "ffv1": "FFV1",
    "flv1": "Sorenson Spark", "g722": "G.722", "g729": "G.729", "h261": "H.261", "huffyuv": "HuffYUV",
    "mp1": "MPEG layer I", "mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2", "msmpeg4v2": "MS MPEG-4",
    "msmpeg4v3": "DivX 3", "prores": "ProRes", "prores_raw": "ProRes RAW", "qdm2": "QDesign",
    "rawvideo": "uncompressed", "rv40": "RealVideo", "speex": "Speex", "svq3": "Sorenson Video 3",
    "theora": "Theora", "truehd": "Dolby TrueHD", "vc1": "VC-1", "vvc": "H.266", "wmapro": "WMA Pro",
    "wmav2": "WMA", "wmv2": "WMV 8", "wmv3": "WMV 9",
}  # fmt: skip


def unsupported_error(part: Part, found: Format | None, kind: MediaKind) -> BadRequest:
    """The file's format is unknown, is not decoded, or cannot contain `kind`."""
    send = f"Send {ACCEPTED[kind]}."
    if found is None:
        what = "is not in a format that is accepted"
    elif found.demuxer and found.kinds:
        other = found.kinds[-1]
        what = f"is {found.name}" + (f", which contains no {kind}" if kind != "image" else "")
        send = f"Send it as {_PART_TYPES[other]}, or send {ACCEPTED[kind]}."
    else:
        what = f"is {found.name}"
    if part.source.is_frame_list:
        what = what.replace("is ", "has a frame that is ", 1)
    return part.invalid_error(what, send, "media_format_unsupported")


def damaged_error(part: Part) -> BadRequest:
    """A decoder failed or died on the file."""
    kind = "image" if part.source.is_frame_list else part.source.kind
    what = "could not be decoded: the file is damaged or not what it claims to be"
    return part.invalid_error(what, f"Send {ACCEPTED[kind]}.", "media_undecodable")


def too_long_error(part: Part, seconds: float, limit_s: float) -> BadRequest:
    """The audio or video is longer than its limit."""
    if part.source.kind == "video":
        field, fix = "video_seconds", "Cut the video or raise the limit."
    else:
        field, fix = "audio_seconds", "Split the file or raise the limit."
    return part.limit_error(f"is {_shown_length(seconds, limit_s)} s", f"{limit_s:g} s", field, fix)


def _shown_length(seconds: float, limit_s: float) -> str:
    """Seconds with one decimal, rounded up if rounding would show the limit or less."""
    tenths = round(seconds * 10)
    if tenths <= limit_s * 10:
        tenths = math.floor(limit_s * 10) + 1
    whole, tenth = divmod(tenths, 10)
    return f"{whole}.{tenth}" if tenth else str(whole)


def report_error(part: Part, report: DecodeReport, policy: MediaPolicy) -> BadRequest:
    """The error for a report with a failure."""
    match report.failure:
        case "too_many_pixels" | "aspect_ratio_exceeded":
            return _dimensions_error(part, report, policy)
        case "too_long":
            return too_long_error(part, report.seconds, policy.video_seconds)
        case "too_few_frames":
            fix = f"Ask for at most {report.frames}, or set fps instead."
            return part.invalid_error(f"has fewer frames than nframes, {part.source.frames}", fix)
        case "no_audio" | "no_video":
            return _empty_error(part, report)
        case "unsupported_audio" | "unsupported_video":
            return _codec_error(part, report)
    return damaged_error(part)


def _empty_error(part: Part, report: DecodeReport) -> BadRequest:
    if report.failure == "no_audio":
        return part.invalid_error("contains no audio", "Send a file with an audio track.", "media_empty")
    fix = f"Send it as {_PART_TYPES['audio']}, or send a video."
    return part.invalid_error("contains no video, only audio", fix, "media_empty")


def _dimensions_error(part: Part, report: DecodeReport, policy: MediaPolicy) -> BadRequest:
    where = f" in frame {report.index + 1}" if part.source.is_frame_list else ""
    got = f"has {report.width} x {report.height} pixels{where}"
    if report.failure == "aspect_ratio_exceeded":
        limit = f"{policy.aspect_ratio:g} times as long as wide"
        return part.limit_error(got, limit, "aspect_ratio", "Crop it, or cut it into several.")
    is_file = part.source.kind == "video" and not part.source.is_frame_list
    field = "video_source_pixels" if is_file else "image_source_pixels"
    fix = "Scale it down or raise the limit."
    return part.limit_error(got, f"{getattr(policy, field)} pixels", field, fix)


def _codec_error(part: Part, report: DecodeReport) -> BadRequest:
    if report.failure == "unsupported_video":
        track, fix = "video", f"Send {ACCEPTED_VIDEO_CODECS}."
    elif part.source.kind == "video":
        track, fix = "audio", f"Send {ACCEPTED_AUDIO_CODECS}, or set use_audio_in_video to false."
    else:
        track, fix = "audio", f"Send {ACCEPTED_AUDIO_CODECS}."
    name = _CODECS.get(report.codec, report.codec or "unknown")
    what = f"has {track} in a format that is not decoded ({name})"
    return part.invalid_error(what, fix, "media_format_unsupported")
