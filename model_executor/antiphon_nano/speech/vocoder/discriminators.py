"""Discriminators: networks that tell the vocoder's audio from recorded audio, for the polish stage alone.

float32 [streams, samples] to scores and features. Some fold the wave by a period (HiFi-GAN), others read
spectra (UnivNet).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

PERIODS = (2, 3, 5, 7, 11)
RESOLUTIONS = ((1024, 240), (512, 120), (2048, 480))
_SLOPE = 0.1

DiscriminatorOutput = tuple[Tensor, list[Tensor]]
"""(scores, features of every layer)."""


class Discriminators(nn.Module):
    """`width`: channels of the first layers. Deeper layers have more."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, width) for period in PERIODS),
                *(SpectrumDiscriminator(fft, hop, width) for fft, hop in RESOLUTIONS),
            ]
        )

    def forward(self, sound: Tensor) -> list[DiscriminatorOutput]:
        return [net(sound) for net in self.nets]


class PeriodDiscriminator(nn.Module):
    """Reads the wave as an image that is `period` samples wide: repetitions are columns."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        sizes = (1, width, 2 * width, 4 * width, 8 * width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(sizes)
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, sound: Tensor) -> DiscriminatorOutput:
        filled = functional.pad(sound, (0, -sound.shape[1] % self.period))
        return _through(self.layers, self.last, filled.unflatten(1, (-1, self.period))[:, None])


class SpectrumDiscriminator(nn.Module):
    """Reads log magnitudes [frames, bins]. Each layer halves the bins."""

    window: Tensor

    def __init__(self, fft: int, hop: int, width: int) -> None:
        super().__init__()
        self.fft = fft
        self.hop = hop
        self.register_buffer("window", torch.hann_window(fft), persistent=False)
        sizes = (1, width, 2 * width, 2 * width, 2 * width)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 7), (1, 2), (1, 3))) for a, b in pairwise(sizes)
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, sound: Tensor) -> DiscriminatorOutput:
        spectrum = torch.stft(sound, self.fft, self.hop, window=self.window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        picture = (power + 1e-6).log().transpose(1, 2)[:, None]
        return _through(self.layers, self.last, picture)


def _through(layers: nn.ModuleList, last: nn.Module, rows: Tensor) -> DiscriminatorOutput:
    features = []
    for layer in layers:
        rows = functional.leaky_relu(layer(rows), _SLOPE)
        features.append(rows)
    return last(rows), features


def discriminator_loss(
    recorded: Sequence[DiscriminatorOutput], made: Sequence[DiscriminatorOutput]
) -> Tensor:
    """The discriminators' loss: target 1 for recorded audio, 0 for generated audio (LSGAN)."""
    losses = [
        (real - 1).square().mean() + fake.square().mean()
        for (real, _), (fake, _) in zip(recorded, made, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(made: Sequence[DiscriminatorOutput]) -> Tensor:
    """The vocoder's loss: its audio should score 1."""
    return torch.stack([(score - 1).square().mean() for score, _ in made]).mean()


def feature_matching_loss(
    recorded: Sequence[DiscriminatorOutput], made: Sequence[DiscriminatorOutput]
) -> Tensor:
    """The distance of inner features, relative to those of recorded audio."""
    losses = [
        functional.l1_loss(fake, real.detach()) / real.detach().abs().mean().clamp(min=1e-4)
        for (_, reals), (_, fakes) in zip(recorded, made, strict=True)
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return torch.stack(losses).mean()
