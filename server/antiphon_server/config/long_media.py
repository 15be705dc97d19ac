"""The limits that `--media.long` raises together: the longest media that a context of 262,144 tokens holds.

They override the defaults; what the operator or the tier sets overrides them.
"""

from __future__ import annotations

from types import MappingProxyType

_MIB = 1 << 20
_GIB = 1 << 30

# Ten hours of speech, or 400 s of 1280 x 720 video at one frame a second.
LONG_MEDIA = MappingProxyType(
    {
        "media.part_bytes": 1280 * _MIB,
        "media.request_bytes": 2 * _GIB,
        "media.request_decoded_bytes": 4 * _GIB,
        "media.audio_seconds": 37_500.0,
        "media.request_audio_seconds": 37_500.0,
        "media.video_seconds": 3_600.0,
        "media.video_frame_pixels": 1280 * 720,
        "media.video_total_pixels": 240_000_000,
        "media.decode_s": 600.0,
        "media.fetch_s": 600.0,
        "files.file_bytes": 1280 * _MIB,
        "server.limits.body_bytes": 384 * _MIB,
        "server.timeouts.body_s": 600.0,
        "engine.hang_s": 600.0,
    }
)
