"""What one request may still send and still become: encoded bytes, decoded bytes, seconds of sound.

In: amounts, before and after each decode. Out: `BadRequest` of the part that breaks a request's total.
`hold` counts the memory of all requests together, and may refuse too.
One per request, never shared.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

ReserveBytes = Callable[[int], None]

_MIB = 1 << 20


def no_reservation(_size_bytes: int) -> None:
    """The `hold` of a request that is the only one."""


class Budget:
    """Amounts only ever grow; a refused part ends the request."""

    def __init__(self, policy: MediaPolicy, hold: ReserveBytes = no_reservation) -> None:
        self._policy = policy
        self._hold = hold
        self._encoded_bytes = 0
        self._decoded_bytes = 0
        self._audio_seconds = 0.0

    @property
    def encoded_bytes_left(self) -> int:
        return self._policy.request_bytes - self._encoded_bytes

    @property
    def decoded_bytes_left(self) -> int:
        return self._policy.request_decoded_bytes - self._decoded_bytes

    def take_encoded(self, part: Part, size_bytes: int) -> None:
        """Counts bytes of a part that are about to be decoded from base64, or that were fetched."""
        self._encoded_bytes += size_bytes
        if self.encoded_bytes_left < 0:
            limit = f"{self._policy.request_bytes / _MIB:g} MiB"
            got = f"brings the request to {self._encoded_bytes / _MIB:.1f} MiB of media"
            raise part.over(got, limit, "request_bytes", "Send less at once or raise the limit.")

    def take_decoded(self, part: Part, size_bytes: int) -> None:
        """Counts what a part is, or is about to be, in memory."""
        self._decoded_bytes += size_bytes
        if self.decoded_bytes_left < 0:
            limit = f"{self._policy.request_decoded_bytes / _MIB:g} MiB"
            got = f"brings the request to at least {self._decoded_bytes / _MIB:.1f} MiB of decoded media"
            raise part.over(got, limit, "request_decoded_bytes", "Send less at once or raise the limit.")
        self._hold(size_bytes)

    def take_audio(self, part: Part, seconds: float) -> None:
        """Counts seconds of sound, those of videos included."""
        self._audio_seconds += seconds
        if self._audio_seconds > self._policy.request_audio_seconds:
            limit = f"{self._policy.request_audio_seconds:g} s"
            got = f"brings the request to {self._audio_seconds:.1f} s of sound"
            raise part.over(got, limit, "request_audio_seconds", "Send less at once or raise the limit.")
