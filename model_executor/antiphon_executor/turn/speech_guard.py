"""Detects faulty speech: far too long for its text, repeating itself, or silent. O(1) per frame.

It needs seconds of a pattern that real speech never shows; it does not recognise words. Only speech of a cut
text has a tighter limit, from the pace of its voice.
"""

from __future__ import annotations

import numpy as np

from antiphon_executor.interface.events import GuardReason
from antiphon_executor.interface.settings import GuardSettings

_FULL_SCALE = 32_768.0
_LONGEST_CYCLE = 16
_PAUSE = 0.05
"""A frame below this share of the loudest frame so far (-26 dB) is a pause between words."""


class SpeechGuard:
    """The guard of one stream. Call `check_frame` for each frame and `set_text` as the text grows."""

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

    def set_text(self, tokens: int, *, complete: bool) -> None:
        """The stream's text has `tokens` tokens so far."""
        self._text_tokens = tokens
        self._text_complete = complete

    def limit_cut_text(self, frames: float, uncertainty: float) -> None:
        """The text was cut. `frames`: its expected length; `uncertainty`: of the voice's pace, 0 to 1."""
        limits = self._settings
        if limits.cut_stretch is not None and frames > 0:
            latest = frames * (limits.cut_stretch + uncertainty / 4) + limits.cut_spare_frames
            self._cut_after = (frames + latest) / 2, latest

    def check_frame(self, codes: bytes, pcm: bytes) -> GuardReason | None:
        """Why speech must stop after this frame, or None. `codes`: int16 [groups]; `pcm`: s16le at 24 kHz."""
        self._frames += 1
        limits = self._settings
        repeats = self._count_repeats(hash(codes))
        if limits.cycle_frames is not None and repeats >= limits.cycle_frames:
            return "cycle"
        # A frame without audio is neither silent nor loud.
        level = _level(pcm) if pcm else max(self._loudest, self._silence)
        self._loudest = max(self._loudest, level)
        self._silent = self._silent + 1 if level < self._silence else 0
        if limits.silent_frames is not None and self._silent >= limits.silent_frames:
            return "silence"
        return "overlong" if self._is_overlong() or self._exceeds_cut_text(level) else None

    def _exceeds_cut_text(self, level: float) -> bool:
        """After a cut text, speech ends at its limit or at the first pause in the margin's second half."""
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
        """Length of the longest run up to this frame in which each frame equals the one a period before."""
        for back in range(_LONGEST_CYCLE):
            earlier = self._last[(self._frames - 2 - back) % _LONGEST_CYCLE]
            self._repeats[back] = self._repeats[back] + 1 if earlier == frame else 0
        self._last[(self._frames - 1) % _LONGEST_CYCLE] = frame
        return max(self._repeats)


def _level(pcm: bytes) -> float:
    """Root mean square of the samples."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return float(np.sqrt(np.mean(samples * samples)))
