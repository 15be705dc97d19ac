"""The media budget of one request: encoded bytes, decoded bytes and seconds of audio of all its parts.

The part that exceeds a total gets a `BadRequest`. Decoded bytes are also reserved with `reserve_bytes`, which
counts the memory of all requests together.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon_server.media.context_room import ContextRoom
from antiphon_server.media.decoding_progress import DecodingProgress
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

ReserveBytes = Callable[[int], None]

_MIB = 1 << 20


def no_reservation(_size_bytes: int) -> None:
    """A `reserve_bytes` that accepts any amount."""


class Budget:
    """Belongs to one request. Amounts are never returned: a refused part ends the request.

    `room`: what the context leaves for media; None if the model's geometry is not known. `progress`: the
    parts report to it.
    """

    def __init__(
        self,
        policy: MediaPolicy,
        reserve_bytes: ReserveBytes = no_reservation,
        room: ContextRoom | None = None,
        progress: DecodingProgress | None = None,
    ) -> None:
        self.room = room
        self.progress = progress or DecodingProgress()
        self._policy = policy
        self._reserve_bytes = reserve_bytes
        self._encoded_bytes = 0
        self._decoded_bytes = 0
        self._audio_seconds = 0.0

    @property
    def encoded_bytes_left(self) -> int:
        return self._policy.request_bytes - self._encoded_bytes

    @property
    def decoded_bytes_left(self) -> int:
        return self._policy.request_decoded_bytes - self._decoded_bytes

    @property
    def audio_seconds_left(self) -> float:
        return self._policy.request_audio_seconds - self._audio_seconds

    def charge_encoded(self, part: Part, size_bytes: int) -> None:
        """Charges bytes of a part before base64 decoding, or as they are fetched."""
        self._encoded_bytes += size_bytes
        if self.encoded_bytes_left < 0:
            limit = f"{self._policy.request_bytes / _MIB:g} MiB"
            got = f"brings the request to {self._encoded_bytes / _MIB:.1f} MiB of media"
            raise part.limit_error(got, limit, "request_bytes", "Send less or raise the limit.")

    def charge_decoded(self, part: Part, size_bytes: int) -> None:
        """Charges and reserves the memory of a decoded part."""
        self.charge_stored(part, size_bytes)
        self._reserve_bytes(size_bytes)

    def charge_stored(self, part: Part, size_bytes: int) -> None:
        """Charges the bytes of a decoded part that are not kept in memory."""
        self._decoded_bytes += size_bytes
        if self.decoded_bytes_left < 0:
            limit = f"{self._policy.request_decoded_bytes / _MIB:g} MiB"
            got = f"brings the request to at least {self._decoded_bytes / _MIB:.1f} MiB of decoded media"
            raise part.limit_error(got, limit, "request_decoded_bytes", "Send less or raise the limit.")

    def charge_audio(self, part: Part, seconds: float) -> None:
        """Charges seconds of audio, including the audio of videos."""
        self._audio_seconds += seconds
        if self._audio_seconds > self._policy.request_audio_seconds:
            limit = f"{self._policy.request_audio_seconds:g} s"
            got = f"brings the request to {self._audio_seconds:.1f} s of audio"
            raise part.limit_error(got, limit, "request_audio_seconds", "Send less or raise the limit.")
