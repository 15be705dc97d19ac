"""How much audio a client may send: a multiple of real time, and some at once."""

from __future__ import annotations

from collections.abc import Callable

from antiphon_server.config.realtime import RealtimePolicy
from antiphon_server.errors import RateExceeded
from antiphon_server.openai_api.realtime.session import InputFormat, PcmInput
from antiphon_server.realtime.audio.sample_formats import G711_HZ


class InputBudget:
    """One connection's."""

    def __init__(self, policy: RealtimePolicy, clock: Callable[[], float]) -> None:
        self._policy = policy
        self._clock = clock
        self._left_s = policy.input_burst_s
        self._at_s = clock()

    def spend(self, size_bytes: int, asked: InputFormat) -> None:
        """Raises RateExceeded if the client has sent too much; this audio does not count then."""
        rate = 2 * asked.rate if isinstance(asked, PcmInput) else G711_HZ
        now_s, policy = self._clock(), self._policy
        gained_s = (now_s - self._at_s) * policy.input_speed
        self._left_s = min(self._left_s + gained_s, policy.input_burst_s)
        self._at_s = now_s
        seconds = size_bytes / rate
        if seconds > self._left_s:
            raise RateExceeded(
                f"Audio arrives faster than {policy.input_speed:g} times real time; this piece is dropped.",
                param="audio",
                retry_after_s=(seconds - self._left_s) / policy.input_speed,
            )
        self._left_s -= seconds
