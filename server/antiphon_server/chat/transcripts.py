"""Store of the transcripts of earlier spoken answers, so that later requests can refer to them by id.

It is bounded in entries and in bytes. Ids are unguessable, so an entry needs no owner.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from antiphon_server.config.chat import ChatPolicy


class Transcripts:
    """One per server. `clock`: monotonic seconds."""

    def __init__(self, policy: ChatPolicy, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._bytes = 0

    def keep(self, audio_id: str, transcript: str) -> None:
        self.forget(audio_id)
        self._kept[audio_id] = (self._clock() + self._policy.transcript_s, transcript)
        self._bytes += _size(audio_id, transcript)
        while len(self._kept) > self._policy.transcripts or self._bytes > self._policy.transcript_bytes:
            self.forget(next(iter(self._kept)))

    def find(self, audio_id: str) -> str | None:
        """None if the transcript was never kept, has expired or was evicted."""
        expires, transcript = self._kept.get(audio_id, (0.0, ""))
        if audio_id in self._kept and expires < self._clock():
            self.forget(audio_id)
        return transcript if audio_id in self._kept else None

    def forget(self, audio_id: str) -> None:
        _, transcript = self._kept.pop(audio_id, (0.0, None))
        if transcript is not None:
            self._bytes -= _size(audio_id, transcript)


def _size(audio_id: str, transcript: str) -> int:
    return len(audio_id) + len(transcript.encode())
