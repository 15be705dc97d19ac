"""A microphone that never stops: frames in real time, speech where it is asked for, else a quiet room.

Sample i was spoken `i / RATE_HZ` seconds after the start, however late its frame is sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import numpy as np
import pybase64

from antiphon_server.bench.realtime.utterance import RATE_HZ, Utterance

FRAME_S = 0.04
_FRAME = round(FRAME_S * RATE_HZ)
# Of the room, relative to full scale: some -60 dB.
_ROOM = 0.001 * 32_767


class Microphone:
    """`send` takes one event. The room's noise follows from `seed`."""

    def __init__(self, send: Callable[[str], Awaitable[None]], seed: int) -> None:
        self._send = send
        self._noise = np.random.default_rng(seed)
        self._speech = np.zeros(0, np.float32)
        self._began_s = time.monotonic()
        self._frames = 0

    def say(self, utterance: Utterance) -> float:
        """Speaks from the next frame on. The time at which its speech ends, on the monotonic clock."""
        self._speech = utterance.samples.astype(np.float32)
        return self._began_s + self._frames * FRAME_S + utterance.speech_end_s

    async def run(self) -> None:
        """Sends until it is cancelled, or raises what `send` raises."""
        while True:
            await asyncio.sleep(max(0.0, self._began_s + (self._frames + 1) * FRAME_S - time.monotonic()))
            await self._send(self._frame())

    def _frame(self) -> str:
        self._frames += 1
        sound = self._noise.normal(0.0, _ROOM, _FRAME).astype(np.float32)
        spoken, self._speech = self._speech[:_FRAME], self._speech[_FRAME:]
        sound[: len(spoken)] += spoken
        pcm = np.clip(sound, -32_768, 32_767).astype("<i2").tobytes()
        return json.dumps({"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(pcm)})
