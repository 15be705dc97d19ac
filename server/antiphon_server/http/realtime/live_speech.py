"""An utterance that goes on, and the engine's clip of it: the prompt up to it is read while the user speaks.

Windows of whole blocks of the audio tower are read as they are complete, and the rest at each pause. The
answer's own request then finds features and the beginning of its prompt in the engine's caches.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import numpy as np

from antiphon_executor.interface.engine import OmniEngine
from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, StoredClip
from antiphon_executor.interface.request import TokensAhead
from antiphon_server.realtime.audio.sound import HeardSound, Samples, WrittenClip, decoded
from antiphon_server.realtime.audio.turn_detector import SpeechSoFar

# Of the windows: the audio towers attend within them.
WINDOW_S = 8
# Samples are written a second at a time, and at a pause.
_STEP = INPUT_SAMPLE_RATE_HZ
# What the encoder computes ahead of an utterance, in seconds of sound: `_SPARE_S` and `_TIMES` its length. An
# utterance that grows louder all the time, or has many pauses, is read no further.
_SPARE_S, _TIMES = 60, 4

Clip = AudioClip | StoredClip
ReadClip = Callable[["LiveSpeech", WrittenClip], Awaitable[None]]


class LiveSpeech:
    """`read`: has the engine read the prompt with a clip of the speech so far, and counts that in `ahead`.

    `until`: the sample up to which it was added. `encoded_s`: sound that the encoder has computed. One task
    owns the writer, whose work runs in threads.
    """

    def __init__(self, start: int, engine: OmniEngine, read: ReadClip) -> None:
        self.start = self.until = start
        self.ahead = TokensAhead()
        self._engine = engine
        self._writer = engine.clip_writer(WINDOW_S)
        # Content has no hash before its end.
        self._key = f"speech-{secrets.token_hex(16)}"
        self._read = read
        self._new: list[Samples] = []
        self._written = 0
        self._has_paused = False
        self._clip: Clip | None = None
        self.encoded_s = 0.0
        self._changed = asyncio.Event()
        self._is_over = False
        self._reading: asyncio.Future[None] | None = None
        self._running = asyncio.create_task(self._run())

    def needs(self, speech: SpeechSoFar) -> bool:
        """Whether there is enough more of it for `add`."""
        more = speech.until - self.until
        return more >= _STEP or (speech.has_paused and more > 0)

    def add(self, samples: Samples, speech: SpeechSoFar) -> None:
        """The samples from `until` to that of `speech`."""
        self.until = speech.until
        self._new.append(samples)
        self._has_paused = speech.has_paused
        self._changed.set()

    async def stop(self) -> None:
        """The engine has aborted what it did for the speech. Idempotent."""
        self._is_over = True
        self._changed.set()
        if self._reading is not None:
            self._reading.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def finish(self, sound: HeardSound) -> None:
        """The utterance is over: `sound` gets its clip."""
        await self.stop()
        clip = self._clip
        if clip is None or clip.num_samples != len(sound.samples):
            rest = sound.samples[self._written :]
            clip = await asyncio.to_thread(self._write, rest, is_whole=True)
        if clip is not None:
            sound.written = self._made(clip, sound.samples)

    async def _run(self) -> None:
        while not self._is_over:
            await self._changed.wait()
            self._changed.clear()
            new, self._new = self._new, []
            if not new or self._is_over:
                continue
            samples = np.concatenate(new)
            clip = await asyncio.to_thread(self._write, samples, is_whole=self._has_paused)
            if clip is None or self._is_over or _is_same(clip, self._clip):
                continue
            encoded_s = self.encoded_s + self._new_s(clip)
            self._clip = clip
            if encoded_s > _SPARE_S + _TIMES * clip.seconds:
                continue
            self.encoded_s = encoded_s
            self._reading = asyncio.ensure_future(self._read(self, self._made(clip)))
            await asyncio.wait((self._reading,))

    def _new_s(self, clip: Clip) -> float:
        """Seconds of a clip that the encoder has not seen. A louder one has another key, and is new."""
        before = self._clip
        if before is None or before.key != clip.key:
            return clip.seconds
        return clip.seconds - before.seconds // WINDOW_S * WINDOW_S

    def _write(self, samples: Samples, *, is_whole: bool) -> Clip | None:
        """Writes more samples. What can be read of the clip then; None if that is nothing yet."""
        if len(samples):
            self._writer.write(decoded(samples))
            self._written += len(samples)
        return self._writer.clip_so_far(self._key) if is_whole else self._writer.windows_so_far(self._key)

    def _made(self, clip: Clip, samples: Samples | None = None) -> WrittenClip:
        """`samples`: of the whole sound, from which its clip can be made again."""
        engine, key = self._engine, self._key

        def again() -> Clip:
            if samples is None:
                raise ValueError("a clip of speech that went on is asked for again")
            writer = engine.clip_writer(WINDOW_S)
            writer.write(decoded(samples))
            return writer.finish(key)

        return WrittenClip(clip, WINDOW_S, again, self.ahead)


def _is_same(clip: Clip, other: Clip | None) -> bool:
    return other is not None and (clip.key, clip.num_samples) == (other.key, other.num_samples)
