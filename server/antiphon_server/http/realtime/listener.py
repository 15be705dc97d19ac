"""Listener to one connection's audio: frames go to the scorer of speech, their scores to the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from antiphon_server.realtime.audio.sound import Samples
from antiphon_server.realtime.audio.turn_detector import FRAME, TurnDetector
from antiphon_server.realtime.effects import Step
from antiphon_server.realtime.machine import RealtimeMachine
from antiphon_server.voice_activity.scorer import SpeechScorer
from antiphon_server.voice_activity.stream import SpeechStream

# A client may send minutes at once. Its frames are scored in rounds, between those of others.
_FRAMES_A_ROUND = 32


class Listener:
    """`perform`: takes what follows from each frame, in order. `scored`: seconds for which audio waited."""

    def __init__(
        self,
        machine: RealtimeMachine,
        scorer: SpeechScorer,
        perform: Callable[[Step], None],
        scored: Callable[[float], None],
    ) -> None:
        self._machine = machine
        self._scorer = scorer
        self._perform = perform
        self._scored = scored
        self._fed_s = 0.0
        self._detector: TurnDetector | None = None
        self._stream = SpeechStream()
        self._waiting: Samples = np.zeros(0, np.int16)
        # Joined once a round: minutes may wait, and each piece be a few samples.
        self._new: list[Samples] = []
        self._fed = asyncio.Event()

    def feed(self, samples: Samples) -> None:
        self._follow_detector()
        if not self._new and len(self._waiting) < FRAME:
            self._fed_s = time.monotonic()
        self._new.append(samples)
        self._fed.set()

    async def run(self) -> None:
        while True:
            self._follow_detector()
            if self._new:
                self._waiting = np.concatenate((self._waiting, *self._new))
                self._new.clear()
            count = min(len(self._waiting) // FRAME, _FRAMES_A_ROUND)
            if not count:
                self._fed.clear()
                await self._fed.wait()
                continue
            detector, taken = self._detector, self._waiting[: count * FRAME]
            self._waiting = self._waiting[count * FRAME :]
            scores = await self._scorer.score(self._stream, taken.reshape(count, FRAME))
            self._scored(time.monotonic() - self._fed_s)
            for score in scores:
                if detector is None or self._machine.detector is not detector:
                    break
                self._perform(self._machine.hear(float(score)))

    def _follow_detector(self) -> None:
        """A new detector begins with the sample that is fed next."""
        if self._machine.detector is not self._detector:
            self._detector = self._machine.detector
            self._stream = SpeechStream()
            self._waiting = np.zeros(0, np.int16)
            self._new.clear()
