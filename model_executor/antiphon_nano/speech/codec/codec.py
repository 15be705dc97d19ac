"""The codec: sound → 8 codes of 512 each 80 ms, and, to learn by, back to mel frames.

In: float32 [streams, samples] at 24 kHz, whole frames of 1920. Out: codes. The encoder makes voice prompts
and the Talker's targets; the mel decoder, causal as the vocoder is, serves training alone.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_nano.speech.codec.mel import MELS, LogMel
from antiphon_nano.speech.codec.rvq import ResidualQuantizer
from antiphon_nano.training import mixed, weights

GROUPS = 8
ENTRIES = 512
WIDTH = 64
_CHANNELS = 192
_HALVINGS = 3


class Codec(nn.Module):
    """`mean`, `spread`: of the training speech's log-mels, which the encoder reads as normed."""

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
        """[streams, samples] → [streams, mels, samples / 240]."""
        return (self.mel(sound) - self.mean) / self.spread

    @torch.no_grad()
    def encode(self, sound: Tensor) -> Tensor:
        """[streams, samples] → codes int64 [streams, frames, groups]."""
        vectors = self.vectors(self.normed_mel(sound))
        _, codes, _ = self.quantizer(vectors)
        return codes.unflatten(0, (len(sound), -1))

    def vectors(self, mel: Tensor) -> Tensor:
        """Normed mel frames [streams, mels, frames * 8] → [streams * frames, width], to be quantized.

        Of mean 0 in each place and spread 1 over all: in the batch in training, else as measured by then.
        """
        with mixed(mel.device) if self.training else nullcontext():
            rows = self.encoder(mel)
        return self.norm(rows.float().transpose(1, 2).flatten(0, 1))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [frames, groups] → log-mel [mels, frames * 8]."""
        mel = self.decoder(self.quantizer.decode(codes).T[None])[0]
        return mel * self.spread + self.mean


def loaded_codec(home: Path) -> Codec:
    """The codec that was trained in `home`, for reading alone."""
    codec = Codec()
    codec.load_state_dict(weights(home / "codec.safetensors", "codec"))
    return codec.eval().requires_grad_(False)


class Centering(nn.Module):
    """[n, width] → the same, less its mean, by its spread: running ones in evaluation.

    Without it the encoder drifts faster than codebooks follow, until code 0 tells a dozen clusters apart and
    no more.
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
    """[streams, mels, frames * 8] → [streams, width, frames]; each frame sees its neighbours."""

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
    """[streams, width, frames] → [streams, mels, frames * 8], causal."""

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
    """Depthwise convolution over 7, then a two-layer net for each place; scaled residual."""

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
