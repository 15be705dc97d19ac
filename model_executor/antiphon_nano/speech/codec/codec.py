"""The codec: speech to 8 codes of 512 entries per 80 ms; and a mel decoder, for training.

Input: float32 [streams, samples] at 24 kHz, whole frames of 1920. The encoder makes the Talker's targets and
the voice prompts. The mel decoder is causal, as the vocoder is.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_nano.speech.codec.mel import MELS, LogMel
from antiphon_nano.speech.codec.rvq import ResidualQuantizer
from antiphon_nano.training import mixed_precision, weights

GROUPS = 8
ENTRIES = 512
WIDTH = 64
_CHANNELS = 192
_HALVINGS = 3


class Codec(nn.Module):
    """`mean`, `spread`: statistics of the training speech's log-mels, by which the encoder's input is
    normalised.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mel = LogMel()
        self.encoder = Encoder()
        self.norm = Centering(WIDTH)
        self.quantizer = ResidualQuantizer(GROUPS, ENTRIES, WIDTH)
        self.decoder = MelDecoder()
        self.register_buffer("mean", torch.tensor(-5.0))
        self.register_buffer("spread", torch.tensor(2.5))

    def normed_mel(self, sound: Tensor) -> Tensor:
        """[streams, samples] to [streams, mels, samples / 240]."""
        return (self.mel(sound) - self.mean) / self.spread

    @torch.no_grad()
    def encode(self, sound: Tensor) -> Tensor:
        """[streams, samples] to codes, int64 [streams, frames, groups]."""
        vectors = self.vectors(self.normed_mel(sound))
        _, codes, _ = self.quantizer(vectors)
        return codes.unflatten(0, (len(sound), -1))

    def vectors(self, mel: Tensor) -> Tensor:
        """Normalised mel frames [streams, mels, frames * 8] to [streams * frames, width], the quantizer's
        input.

        Each component has mean 0, and all together spread 1: of the batch in training, else of the training
        so far.
        """
        with mixed_precision(mel.device) if self.training else nullcontext():
            rows = self.encoder(mel)
        return self.norm(rows.float().transpose(1, 2).flatten(0, 1))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [frames, groups] to log-mel [mels, frames * 8]."""
        mel = self.decoder(self.quantizer.decode(codes).T[None])[0]
        return mel * self.spread + self.mean


def loaded_codec(home: Path) -> Codec:
    """The codec trained in `home`, in evaluation mode."""
    codec = Codec()
    codec.load_state_dict(weights(home / "codec.safetensors", "codec"))
    return codec.eval().requires_grad_(False)


class Centering(nn.Module):
    """[n, width] minus its mean, divided by its spread; running values in evaluation.

    Without it the encoder drifts faster than the codebooks follow, and code 0 distinguishes a dozen clusters
    only.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int, momentum: float = 0.05) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return (rows - self.mean) / self.spread
        mean = rows.mean(0)
        spread = (rows - mean).square().mean().sqrt() + 1e-5
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.spread.lerp_(spread, self.momentum)
        return (rows - mean) / spread


class Encoder(nn.Module):
    """[streams, mels, frames * 8] to [streams, width, frames]. Each frame depends on its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(MELS, _CHANNELS, 5, padding=2)]
        for halving in range(_HALVINGS):
            layers += [nn.GELU(), nn.Conv1d(_CHANNELS, _CHANNELS, 4, 2, padding=1)]
            if halving:
                layers.append(ConvNeXt(causal=False))
        self.layers = nn.Sequential(*layers, ConvNeXt(causal=False), nn.Conv1d(_CHANNELS, WIDTH, 1))

    def forward(self, mel: Tensor) -> Tensor:
        return self.layers(mel)


class MelDecoder(nn.Module):
    """[streams, width, frames] to [streams, mels, frames * 8], causal."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [CausalConv(WIDTH, _CHANNELS, 3), ConvNeXt(), ConvNeXt()]
        for halving in range(_HALVINGS):
            layers.append(nn.ConvTranspose1d(_CHANNELS, _CHANNELS, 2, 2))
            if halving < _HALVINGS - 1:
                layers.append(ConvNeXt())
        layers += [nn.GELU(), CausalConv(_CHANNELS, _CHANNELS // 2, 3), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Conv1d(_CHANNELS // 2, MELS, 1))

    def forward(self, vectors: Tensor) -> Tensor:
        return self.layers(vectors)


class CausalConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.left = kernel - 1
        self.conv = nn.Conv1d(inputs, outputs, kernel, groups=groups)

    def forward(self, rows: Tensor) -> Tensor:
        return self.conv(functional.pad(rows, (self.left, 0)))


class ConvNeXt(nn.Module):
    """A depthwise convolution over 7 positions, then a two-layer network per position; scaled residual."""

    def __init__(self, width: int = _CHANNELS, causal: bool = True) -> None:
        super().__init__()
        self.reach = (6, 0) if causal else (3, 3)
        self.depthwise = nn.Conv1d(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, rows: Tensor) -> Tensor:
        mixed = self.depthwise(functional.pad(rows, self.reach)).transpose(1, 2)
        return rows + (self.scale * self.narrow(functional.gelu(self.wide(self.norm(mixed))))).transpose(1, 2)
