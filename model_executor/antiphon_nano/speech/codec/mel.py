"""Log-mel frames for the codec and the vocoder's losses: 24 kHz, 80 mels, 100 frames per second.

[streams, samples] in -1 to 1 becomes [streams, mels, samples / hop], natural logarithm. Griffin-Lim inverts
it, to judge the codec before there is a vocoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE_HZ = 24_000
HOP = 240
MELS = 80
_LEAST = 1e-4


def mel_bank(fft: int, mels: int, lowest_hz: float = 20.0, highest_hz: float = 12_000.0) -> Tensor:
    """Triangular filters [mels, fft / 2 + 1] with peak 1, evenly spaced on the HTK mel scale."""
    edges = torch.linspace(_mel(lowest_hz), _mel(highest_hz), mels + 2, dtype=torch.float64)
    low, peak, high = (700 * (10 ** (edges[i : i + mels, None] / 2595) - 1) for i in range(3))
    bins = torch.linspace(0, SAMPLE_RATE_HZ / 2, fft // 2 + 1, dtype=torch.float64)
    rising, falling = (bins - low) / (peak - low), (high - bins) / (high - peak)
    return torch.minimum(rising, falling).clamp(min=0).float()


def _mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


class LogMel(nn.Module):
    """Windows of `fft` samples every `hop`. The middle of frame i is at (i + 1/2) * hop."""

    window: Tensor
    bank: Tensor

    def __init__(self, fft: int = 1024, hop: int = HOP, mels: int = MELS) -> None:
        super().__init__()
        self.fft = fft
        self.hop = hop
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        self.register_buffer("bank", mel_bank(fft, mels), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """[streams, samples], a whole number of hops, to [streams, mels, samples / hop]."""
        return (self.bank @ self.spectrum(sound).abs()).clamp(min=_LEAST).log()

    def spectrum(self, sound: Tensor) -> Tensor:
        """Complex [streams, fft / 2 + 1, samples / hop]."""
        spare = self.fft - self.hop
        filled = functional.pad(sound[:, None], (spare // 2, spare - spare // 2), mode="reflect")[:, 0]
        return torch.stft(filled, self.fft, self.hop, window=self.window, center=False, return_complex=True)

    @torch.no_grad()
    def sound(self, mel: Tensor, rounds: int = 40) -> Tensor:
        """Griffin-Lim: [mels, frames] to [frames * hop]."""
        inverse = torch.linalg.pinv(self.bank)
        magnitude = (inverse @ mel.exp()).clamp(min=1e-5)
        phase = torch.randn(magnitude.shape, generator=torch.Generator().manual_seed(0)) * math.pi
        spectrum = torch.polar(magnitude, phase)
        sound = self._overlapped(spectrum)
        for _ in range(rounds):
            spectrum = self.spectrum(sound[None])[0]
            sound = self._overlapped(torch.polar(magnitude, spectrum.angle()))
        return sound

    def _overlapped(self, spectrum: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectrum, n=self.fft, dim=0) * self.window[:, None]
        length = (frames.shape[1] - 1) * self.hop + self.fft
        weight = (self.window**2)[:, None].expand(-1, frames.shape[1])
        total, norm = (
            functional.fold(part[None], (1, length), (1, self.fft), stride=(1, self.hop))[0, 0, 0]
            for part in (frames, weight)
        )
        start = (self.fft - self.hop) // 2
        return (total / norm.clamp(min=1e-2))[start : start + frames.shape[1] * self.hop]
