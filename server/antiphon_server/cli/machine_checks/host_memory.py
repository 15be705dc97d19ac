"""Upper bounds of the memory that the server process and its decoders take, from the settings."""

from __future__ import annotations

from antiphon_executor.interface.capacity import FEATURE_CACHE_BYTES
from antiphon_server.config.settings import Settings
from antiphon_server.media.policy import KEPT_SOUND_BYTES

_MIB = 1 << 20
# Assumed: the process before its first request, and a decoder's own code and libraries.
IDLE_BYTES = 400 * _MIB
DECODER_BYTES = 64 * _MIB
# A body is in memory as bytes and as parsed text.
_BODY_COPIES = 2


def host_memory(settings: Settings) -> tuple[tuple[str, int], ...]:
    """By name. One request's decoded media can be more than the limit of all, so the larger one counts."""
    limits, media = settings.server.limits, settings.media
    return (
        ("process", IDLE_BYTES),
        ("bodies", _BODY_COPIES * limits.bodies_in_flight_bytes),
        ("decoded media and features", max(limits.media_bytes, media.request_decoded_bytes)),
        ("cache of features", FEATURE_CACHE_BYTES),
        ("sound of known videos", KEPT_SOUND_BYTES),
        ("decoders", media.decode_workers * DECODER_BYTES),
    )
