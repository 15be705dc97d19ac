"""Arithmetic of audio tokens: samples to mel frames to tokens, and the start time of each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160
FRAME_SAMPLES = 400
FRAME_MS = 10


def mel_frames(samples: int) -> int:
    """Mel frames of a clip at 16 kHz: one per complete 10 ms, as `WhisperFeatureExtractor` counts them.

    A clip shorter than one analysis window (25 ms) is padded with silence to that length. Raises ValueError
    for an empty clip.
    """
    if samples <= 0:
        raise ValueError("a clip without samples has no tokens")
    return max(samples, FRAME_SAMPLES) // HOP_SAMPLES


@dataclass(frozen=True, slots=True)
class AudioGeometry:
    """Windows of `window_frames` mel frames, each reduced by `halvings` stride-2 convolutions.

    Example with four convolutions: 100, 50, 25, 13, 7. Windows are convolved separately, so every complete
    second has 7 tokens.
    """

    window_frames: int = 100
    halvings: int = 4

    @classmethod
    def of(cls, audio_config: PreTrainedConfig) -> AudioGeometry:
        return cls(2 * audio_config.n_window, audio_config.downsample_times)

    @property
    def window_tokens(self) -> int:
        return self._halved(self.window_frames)

    @property
    def token_ms(self) -> int:
        return FRAME_MS << self.halvings

    def tokens(self, frames: int) -> int:
        """Tokens of a clip of `frames` mel frames."""
        windows, rest = divmod(frames, self.window_frames)
        return windows * self.window_tokens + self._halved(rest)

    def start_ms(self, token: int) -> int:
        """Start of a token in milliseconds: `token_ms` per token, restarting with each window."""
        window, place = divmod(token, self.window_tokens)
        return window * self.window_frames * FRAME_MS + place * self.token_ms

    def first_token(self, ms: float) -> int:
        """The first token that begins at `ms` or later."""
        window, rest = divmod(ms, self.window_frames * FRAME_MS)
        place = -(-rest // self.token_ms)
        return int(window) * self.window_tokens + min(int(place), self.window_tokens)

    def _halved(self, frames: int) -> int:
        """Length after the convolutions (kernel 3, stride 2, padding 1): each leaves half, rounded up."""
        return -(-frames >> self.halvings)
