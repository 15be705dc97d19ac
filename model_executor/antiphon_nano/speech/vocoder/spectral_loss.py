"""The spectral distance of two signals at several resolutions.

Two float32 [streams, samples] to a scalar. Long windows are mel-weighted, short ones are not; log magnitudes
for quiet parts, a relative norm for loud parts (Parallel WaveGAN).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_nano.speech.codec.mel import mel_bank

RESOLUTIONS = ((2048, 300, 80), (1024, 150, 80), (512, 80, 0), (240, 50, 0))
"""(window, hop, mels). 0 mels: the spectrum itself."""


class SpectralLoss(nn.Module):
    """The relative norm is of the whole batch, not of each stream."""

    def __init__(self) -> None:
        super().__init__()
        for fft, _, mels in RESOLUTIONS:
            self.register_buffer(f"window{fft}", torch.hann_window(fft))
            if mels:
                self.register_buffer(f"bank{fft}", mel_bank(fft, mels))

    def forward(self, made: Tensor, meant: Tensor) -> Tensor:
        total = made.new_zeros(())
        for fft, hop, mels in RESOLUTIONS:
            ours, theirs = self._magnitude(made, fft, hop, mels), self._magnitude(meant, fft, hop, mels)
            least = 1e-4 if mels else 1e-3
            log_distance = functional.l1_loss(ours.clamp(min=least).log(), theirs.clamp(min=least).log())
            total = total + log_distance + (ours - theirs).norm() / theirs.norm().clamp(min=1e-3)
        return total / len(RESOLUTIONS)

    def _magnitude(self, sound: Tensor, fft: int, hop: int, mels: int) -> Tensor:
        window = self.get_buffer(f"window{fft}")
        spectrum = torch.stft(sound, fft, hop, window=window, return_complex=True)
        # Unlike `abs`, differentiable at zero.
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
        return self.get_buffer(f"bank{fft}") @ magnitude if mels else magnitude
