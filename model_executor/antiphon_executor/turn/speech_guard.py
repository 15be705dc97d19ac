"""Speech that has derailed: far too long for its text, going in circles, or silent without end.

In: a stream's frames, one after the other, with the text they speak. Out: a verdict, once. O(1) a frame, and
pure. It never looks at what is said: a verdict needs seconds of what no speech does. Only speech whose text
was cut has a tighter bound, by the pace of its voice.
"""

from __future__ import annotations

import numpy as np

from antiphon_executor.interface.events import GuardReason
from antiphon_executor.interface.settings import GuardSettings

_FULL_SCALE = 32_768.0
_LONGEST_CYCLE = 16
_PAUSE = 0.05
"""Of the loudest frame so far (-26 dB): quieter is a pause between words."""


class SpeechGuard:
    """Watches one stream. `see` each frame, `text` as it grows."""

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._silence = _FULL_SCALE * 10 ** (settings.silence_dbfs / 20)
        self._frames = 0
        self._text_tokens = 0
        self._text_complete = False
        self._cut_after: tuple[float, float] | None = None
        self._silent = 0
        self._loudest = 0.0
        self._last: list[int | None] = [None] * _LONGEST_CYCLE
        self._repeats = [0] * _LONGEST_CYCLE

    def text(self, tokens: int, *, complete: bool) -> None:
        """The stream's text has this many tokens by now."""
        self._text_tokens = tokens
        self._text_complete = complete

    def cut(self, frames: float, uncertainty: float) -> None:
        """The text was cut. `frames`: its expected length; `uncertainty`: of the voice's pace, 0 to 1."""
        limits = self._settings
        if limits.cut_stretch is not None and frames > 0:
            latest = frames * (limits.cut_stretch + uncertainty / 4) + limits.cut_spare_frames
            self._cut_after = (frames + latest) / 2, latest

    def see(self, codes: bytes, pcm: bytes) -> GuardReason | None:
        """`codes`: int16 [groups]; `pcm`: s16le at 24 kHz, of the next frame."""
        self._frames += 1
        limits = self._settings
        repeats = self._count_repeats(hash(codes))
        if limits.cycle_frames is not None and repeats >= limits.cycle_frames:
            return "cycle"
        # A frame without sound tells nothing.
        level = _level(pcm) if pcm else max(self._loudest, self._silence)
        self._loudest = max(self._loudest, level)
        self._silent = self._silent + 1 if level < self._silence else 0
        if limits.silent_frames is not None and self._silent >= limits.silent_frames:
            return "silence"
        return "overlong" if self._is_overlong() or self._speaks_on(level) else None

    def _speaks_on(self, level: float) -> bool:
        """Behind a text that was cut: from halfway to the bound on, the first pause will do."""
        if self._cut_after is None:
            return False
        pause_from, latest = self._cut_after
        return self._frames >= latest or (self._frames >= pause_from and level < _PAUSE * self._loudest)

    def _is_overlong(self) -> bool:
        rate = self._settings.frames_per_token
        if rate is None or not self._text_complete:
            return False
        return self._frames > self._settings.spare_frames + rate * self._text_tokens

    def _count_repeats(self, frame: int) -> int:
        """The longest run of frames, with this one, that each equal the frame one period before."""
        for back in range(_LONGEST_CYCLE):
            earlier = self._last[(self._frames - 2 - back) % _LONGEST_CYCLE]
            self._repeats[back] = self._repeats[back] + 1 if earlier == frame else 0
        self._last[(self._frames - 1) % _LONGEST_CYCLE] = frame
        return max(self._repeats)


def _level(pcm: bytes) -> float:
    """Root mean square."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(np.sqrt(np.mean(samples * samples)))
