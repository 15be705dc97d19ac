"""The refusal of a file that is not decoded: what was found, and what to send or to set instead.

In: a part, and its format or a decoder's report. Out: `BadRequest`. No word of a file reaches a client.
"""

from __future__ import annotations

import math

from antiphon_server.errors import BadRequest
from antiphon_server.media.decode.formats import ACCEPTED, ACCEPTED_PICTURES, ACCEPTED_SOUND, Format
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import Report
from antiphon_server.media.source import MediaKind

_PARTS: dict[MediaKind, str] = {"audio": "input_audio", "image": "image_url", "video": "video_url"}
_HELD: dict[MediaKind, str] = {"audio": "sound", "image": "picture", "video": "moving picture"}

# As people call the codecs that are met but not decoded.
_CODECS = {
    "ac4": "AC-4", "cinepak": "Cinepak", "dnxhd": "DNxHD", "dts": "DTS", "dvvideo": "DV", "ffv1": "FFV1",
    "flv1": "Sorenson Spark", "g722": "G.722", "g729": "G.729", "h261": "H.261", "huffyuv": "HuffYUV",
    "mp1": "MPEG layer I", "mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2", "msmpeg4v2": "MS MPEG-4",
    "msmpeg4v3": "DivX 3", "prores": "ProRes", "prores_raw": "ProRes RAW", "qdm2": "QDesign",
    "rawvideo": "uncompressed", "rv40": "RealVideo", "speex": "Speex", "svq3": "Sorenson Video 3",
    "theora": "Theora", "truehd": "Dolby TrueHD", "vc1": "VC-1", "vvc": "H.266", "wmapro": "WMA Pro",
    "wmav2": "WMA", "wmv2": "WMV 8", "wmv3": "WMV 9",
}  # fmt: skip


def unsupported(part: Part, found: Format | None, kind: MediaKind) -> BadRequest:
    """The refusal of a format that is not opened, or that cannot hold `kind`."""
    send = f"Send {ACCEPTED[kind]}."
    if found is None:
        what = "is not in a format that is accepted"
    elif found.demuxer and found.kinds:
        other = found.kinds[-1]
        held = "picture" if other == "audio" else _HELD[kind]
        what = f"is {found.name}" + (f", which holds no {held}" if kind != "image" else "")
        send = f"Send it as {_PARTS[other]}, or send {ACCEPTED[kind]}."
    else:
        what = f"is {found.name}"
    if part.source.is_frame_list:
        what = what.replace("is ", "has a frame that is ", 1)
    return part.bad(what, send, "media_format_unsupported")


def damaged(part: Part) -> BadRequest:
    """The refusal of a file on which a decoder failed or died."""
    kind = "image" if part.source.is_frame_list else part.source.kind
    what = "could not be decoded: the file is damaged or not what it claims to be"
    return part.bad(what, f"Send {ACCEPTED[kind]}.", "media_undecodable")


def too_long(part: Part, seconds: float, limit_s: float) -> BadRequest:
    """The refusal of sound or video beyond its limit."""
    field = "video_seconds" if part.source.kind == "video" else "audio_seconds"
    fix = (
        "Cut the video or raise the limit."
        if part.source.kind == "video"
        else "Split the file or raise the limit."
    )
    return part.over(f"is {_length(seconds, limit_s)} s", f"{limit_s:g} s", field, fix)


def _length(seconds: float, limit_s: float) -> str:
    """To a tenth of a second; never one that looks like the limit."""
    tenths = round(seconds * 10)
    if tenths <= limit_s * 10:
        tenths = math.floor(limit_s * 10) + 1
    whole, tenth = divmod(tenths, 10)
    return f"{whole}.{tenth}" if tenth else str(whole)


def client_error(part: Part, report: Report, policy: MediaPolicy) -> BadRequest:
    """The refusal of a file that a decoder would not take."""
    match report.trouble:
        case "too_many_pixels" | "too_long_a_side":
            return _shape(part, report, policy)
        case "too_long":
            return too_long(part, report.seconds, policy.video_seconds)
        case "no_sound":
            return part.bad("holds no sound", "Send a file with an audio track.", "media_empty")
        case "no_picture":
            fix = f"Send it as {_PARTS['audio']}, or send a video."
            return part.bad("holds no picture, only sound", fix, "media_empty")
        case "foreign_sound" | "foreign_picture":
            return _foreign(part, report)
    return damaged(part)


def _shape(part: Part, report: Report, policy: MediaPolicy) -> BadRequest:
    where = f" in frame {report.index + 1}" if part.source.is_frame_list else ""
    got = f"has {report.width} x {report.height} pixels{where}"
    if report.trouble == "too_long_a_side":
        limit = f"{policy.aspect_ratio:g} times as long as wide"
        return part.over(got, limit, "aspect_ratio", "Crop it, or cut it into several.")
    is_file = part.source.kind == "video" and not part.source.is_frame_list
    field = "video_source_pixels" if is_file else "image_source_pixels"
    fix = "Scale it down or raise the limit."
    return part.over(got, f"{getattr(policy, field)} pixels", field, fix)


def _foreign(part: Part, report: Report) -> BadRequest:
    if report.trouble == "foreign_picture":
        held, fix = "pictures", f"Send {ACCEPTED_PICTURES}."
    elif part.source.kind == "video":
        held, fix = "sound", f"Send {ACCEPTED_SOUND}, or set use_audio_in_video to false."
    else:
        held, fix = "sound", f"Send {ACCEPTED_SOUND}."
    name = _CODECS.get(report.codec, report.codec or "unknown")
    return part.bad(f"has {held} in a format that is not decoded ({name})", fix, "media_format_unsupported")
