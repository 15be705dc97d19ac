"""The audit log of admissions: one line for each that starts and each that is refused, by request id.

Off unless `logs.admissions` is on. It names the class of the key, never the key.
"""

from __future__ import annotations

import logging

from antiphon_server.admission.capacity import KeyClasses
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import ApiError

_log = logging.getLogger("antiphon.admission")


class AdmissionLog:
    """Writes in the task of the request, so that each line has the request's id."""

    def __init__(self, classes: KeyClasses) -> None:
        self._classes = classes

    def admitted(self, reservation: Reservation, waited_s: float) -> None:
        fields = {**self._fields(reservation), "waited_ms": round(waited_s * 1e3, 1)}
        _log.info("admitted", extra={"fields": fields})

    def refused(self, reservation: Reservation, error: ApiError) -> None:
        fields = {**self._fields(reservation), "code": error.code, "status": error.status}
        _log.info("refused", extra={"fields": fields})

    def _fields(self, reservation: Reservation) -> dict[str, object]:
        size = reservation.size
        return {
            "class": self._classes.class_of(reservation.owner),
            "kind": reservation.kind,
            "priority": reservation.priority,
            "prompt_tokens": size.prompt_tokens,
            "media_seconds": round(size.media_seconds, 1),
        }
