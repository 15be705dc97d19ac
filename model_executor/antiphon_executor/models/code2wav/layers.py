"""The vocoder's convolutional layers: each advances its streams by one step and keeps their new tails.

Tensors are [batch, steps, channels]. Parameter names and shapes are the checkpoint's (`code2wav.*`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from antiphon_executor.models.code2wav.state import TailLayout, VocoderStep
from antiphon_kernels import dispatch, snake, stream_conv

_WIDE_ROW = 64


class CausalConv(nn.Module):
    """`Qwen3OmniMoeCausalConvNet` with stride 1."""

    def __init__(
        self, layout: TailLayout, channels: tuple[int, int], kernel: int, dilation: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        inputs, outputs = channels
        self.dilation, self.groups = dilation, groups
        self.tail = layout.add((kernel - 1) * dilation, inputs)
        self.conv = nn.Module()
        self.conv.weight = nn.Parameter(stream_conv.packed_conv_weight(outputs, inputs // groups, kernel))
        self.conv.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, window: Tensor, step: VocoderStep) -> Tensor:
        """`window` [batch, tail + steps, in] → [batch, steps, out]."""
        step.keep(self.tail, window)
        return dispatch.stream_conv(window, self.conv.weight, self.conv.bias, self.dilation, self.groups)


class CausalTransposedConv(nn.Module):
    """`Qwen3OmniMoeCausalTransConvNet`; the kernel is a multiple of the stride."""

    def __init__(self, layout: TailLayout, channels: tuple[int, int], kernel: int, stride: int) -> None:
        super().__init__()
        inputs, outputs = channels
        self.stride = stride
        self.tail = layout.add(kernel // stride - 1, inputs)
        self.conv = nn.Module()
        self.conv.weight = nn.Parameter(stream_conv.packed_transposed_weight(inputs, outputs, kernel))
        self.conv.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, window: Tensor, step: VocoderStep) -> Tensor:
        """`window` [batch, tail + steps, in] → [batch, steps * stride, out]."""
        step.keep(self.tail, window)
        return dispatch.stream_transposed_conv(window, self.conv.weight, self.conv.bias, self.stride)


class Snake(nn.Module):
    """`Qwen3OmniMoeSnakeBeta`, which writes the window of the next convolution.

    `steps`: per frame at this rate. `lead_in`: steps of a stream's first frame that lie before its beginning.
    """

    def __init__(self, channels: int, steps: int, lead_in: int = 0) -> None:
        super().__init__()
        self.lead_in = lead_in
        self.repeats = 1
        while self.repeats * channels < _WIDE_ROW and steps % (2 * self.repeats) == 0:
            self.repeats *= 2
        self.alpha = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))
        self.rate = nn.Buffer(torch.empty(self.repeats * channels), persistent=False)
        self.gain = nn.Buffer(torch.empty(self.repeats * channels), persistent=False)

    def derive_constants(self) -> None:
        """Computes the constants from the loaded weights."""
        rate, gain = snake.constants(self.alpha, self.beta, self.repeats)
        self.rate.data, self.gain.data = rate, gain

    def forward(self, x: Tensor, conv: CausalConv | CausalTransposedConv, step: VocoderStep) -> Tensor:
        return dispatch.snake(x, self.rate, self.gain, step.tails[conv.tail], step.started, self.lead_in)


class ConvNeXtBlock(nn.Module):
    """`Qwen3OmniMoeConvNeXtBlock`."""

    def __init__(self, layout: TailLayout, channels: int) -> None:
        super().__init__()
        self.dwconv = CausalConv(layout, (channels, channels), kernel=7, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, step: VocoderStep) -> Tensor:
        y = self.dwconv(step.extend(self.dwconv.tail, x), step)
        y = self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))
        return torch.addcmul(x, y, self.gamma)


class ResidualUnit(nn.Module):
    """`Qwen3OmniMoeCode2WavDecoderResidualUnit`."""

    def __init__(self, layout: TailLayout, channels: int, dilation: int, steps: int, lead_in: int) -> None:
        super().__init__()
        self.act1 = Snake(channels, steps, lead_in)
        self.conv1 = CausalConv(layout, (channels, channels), kernel=7, dilation=dilation)
        self.act2 = Snake(channels, steps)
        self.conv2 = CausalConv(layout, (channels, channels), kernel=1)

    def forward(self, x: Tensor, step: VocoderStep) -> Tensor:
        y = self.conv1(self.act1(x, self.conv1, step), step)
        y = self.conv2(self.act2(y, self.conv2, step), step)
        return y.add_(x)


class DecoderBlock(nn.Module):
    """`Qwen3OmniMoeCode2WavDecoderBlock`: upsamples by `rate`, then three dilated residual units.

    `steps` and `lead_in`: of its input.
    """

    def __init__(
        self, layout: TailLayout, channels: tuple[int, int], rate: int, steps: int, lead_in: int
    ) -> None:
        super().__init__()
        inputs, outputs = channels
        self.block = nn.ModuleList(
            # No lead-in: input before the stream's beginning reaches only output before it.
            [Snake(inputs, steps), CausalTransposedConv(layout, (inputs, outputs), 2 * rate, rate)]
        )
        for dilation in (1, 3, 9):
            self.block.append(ResidualUnit(layout, outputs, dilation, steps * rate, (lead_in + 1) * rate))

    def forward(self, x: Tensor, step: VocoderStep) -> Tensor:
        activation, upsample, *units = self.block
        x = upsample(activation(x, upsample, step), step)
        for unit in units:
            x = unit(x, step)
        return x
