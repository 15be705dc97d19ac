"""The streaming vocoder (Code2Wav): code frames in, waveform out, state by slot.

The output equals the one-shot decoding of transformers' `Qwen3OmniMoeCode2Wav` sample for sample, for any
grouping of frames and any batch. Device data is never read on the host.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig

from antiphon_executor.models.code2wav.grid import lead_in_steps, sample_grid
from antiphon_executor.models.code2wav.layers import (
    CausalConv,
    CausalTransposedConv,
    ConvNeXtBlock,
    DecoderBlock,
    Snake,
)
from antiphon_executor.models.code2wav.state import TailLayout, VocoderPool, VocoderStep
from antiphon_executor.models.code2wav.transformer import Attention, Mlp, PreTransformer, ring_shape
from antiphon_executor.models.code2wav.vocoder_kernel import VocoderKernel, VocoderParts, supports


class StreamingCode2Wav(nn.Module):
    """`Qwen3OmniMoeCode2Wav` for `slots` slots, including slot 0 for padding rows.

    Parameters have the checkpoint's names and shapes, without the prefix `code2wav.`, and no values before
    `load_weights` or `load_state_dict`. State has the parameters' dtype, so cast before loading. The first
    step on a device moves a constant, so run one before capturing a CUDA graph.
    """

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig, slots: int) -> None:
        super().__init__()
        self.config = config
        self.grid = sample_grid(config.upsampling_ratios, config.upsample_rates)
        layout = TailLayout()
        self.pre_transformer = PreTransformer(config)
        self.code_embedding = nn.Embedding(config.codebook_size * config.num_quantizers, config.hidden_size)
        self.upsample = _upsample(config, layout)
        self.decoder = _decoder(config, layout)
        self.state = VocoderPool(slots, layout, ring_shape(config))
        offsets = torch.arange(config.num_quantizers) * config.codebook_size
        self.code_offset = nn.Buffer(offsets, persistent=False)
        self._kernel: VocoderKernel | None = None
        self._stale = True
        self.requires_grad_(False)
        self.register_load_state_dict_post_hook(lambda module, _: module.derive_constants())

    @property
    def samples_per_frame(self) -> int:
        return self.grid.frame_samples

    @property
    def lookahead_samples(self) -> int:
        """Samples at the beginning of a stream that the caller must drop; see `grid.valid`."""
        return self.grid.lookahead_samples

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads tensors by the checkpoint's names, with or without the prefix `code2wav.`.

        May be called with a part at a time, as vLLM's loader does. Returns the names of the loaded tensors,
        without the prefix. KeyError for an unknown name.
        """
        parameters = dict(self.named_parameters())
        loaded: set[str] = set()
        for name, tensor in weights:
            own = name.removeprefix("code2wav.")
            parameters[own].data.copy_(tensor)
            loaded.add(own)
        self.derive_constants()
        return loaded

    def derive_constants(self) -> None:
        """Recomputes what depends on the weights; call it after changing or moving weights directly."""
        for module in self.modules():
            if isinstance(module, Snake):
                module.derive_constants()
            elif isinstance(module, Attention | Mlp):
                module.fuse()
        self._stale = True

    @property
    def kernel(self) -> VocoderKernel | None:
        """The C++ kernel, where it is built and supports the vocoder; None: PyTorch computes it."""
        if self._stale:
            modules = (self.code_embedding, self.pre_transformer, self.upsample, self.decoder)
            parts = VocoderParts(self.config, *modules, self.state)
            self._kernel = VocoderKernel(parts) if supports(parts) else None
            self._stale = False
        return self._kernel

    def reset(self, slots: Tensor) -> None:
        """Starts a new stream in each of `slots` (int64 [count])."""
        self.state.reset(slots)

    @torch.no_grad()
    def forward(self, codes: Tensor, slots: Tensor) -> Tensor:
        """Advances the streams in `slots` by `frames` frames each.

        `codes` int64 [batch, frames, groups]; `slots` int64 [batch], distinct except for the padding slot.
        Returns float32 [batch, frames * samples_per_frame] in -1 to 1, of which `grid.valid(frames before)`
        is the stream's audio. Codes beyond the codebook (an ended row has EOS) are clamped to the last code.
        """
        if codes.shape[1] == 1 and self.kernel is not None:
            return self.kernel(codes, slots)
        step = self.state.read(slots)
        codes = codes.clamp(0, self.config.codebook_size - 1) + self.code_offset
        x = self.pre_transformer(self.code_embedding(codes).mean(2), step)
        for upsample, block in self.upsample:
            x = block(upsample(step.extend(upsample.tail, x), step), step)
        wave = self._decode(x, step)
        self.state.write(slots, step)
        return wave.squeeze(2).float().clamp(-1.0, 1.0)

    def _decode(self, x: Tensor, step: VocoderStep) -> Tensor:
        first, *blocks, activation, last = self.decoder
        x = first(step.extend(first.tail, x), step)
        for block in blocks:
            x = block(x, step)
        return last(activation(x, last, step), step)

    def decode(self, codes_by_stream: Sequence[Tensor], slots: Sequence[int]) -> list[Tensor]:
        """`forward` for streams with different numbers of frames: one batch for each number.

        `codes_by_stream`: int64 [frames, groups] each. Returns the waveforms in the same order.
        """
        by_frames: dict[int, list[int]] = {}
        for index, codes in enumerate(codes_by_stream):
            by_frames.setdefault(codes.shape[0], []).append(index)
        waves: list[Tensor] = [torch.empty(0)] * len(slots)
        for indices in by_frames.values():
            batch = torch.stack([codes_by_stream[index] for index in indices])
            rows = torch.tensor([slots[index] for index in indices], device=batch.device)
            for index, wave in zip(indices, self(batch, rows), strict=True):
                waves[index] = wave
        return waves


def _upsample(config: Qwen3OmniMoeCode2WavConfig, layout: TailLayout) -> nn.ModuleList:
    hidden = config.hidden_size
    return nn.ModuleList(
        nn.ModuleList(
            [CausalTransposedConv(layout, (hidden, hidden), factor, factor), ConvNeXtBlock(layout, hidden)]
        )
        for factor in config.upsampling_ratios
    )


def _decoder(config: Qwen3OmniMoeCode2WavConfig, layout: TailLayout) -> nn.ModuleList:
    channels = config.decoder_dim
    decoder = nn.ModuleList([CausalConv(layout, (config.hidden_size, channels), kernel=7)])
    steps = sample_grid(config.upsampling_ratios, ()).frame_samples
    for index, rate in enumerate(config.upsample_rates):
        lead_in = lead_in_steps(config.upsample_rates[:index])
        if lead_in >= steps:
            raise ValueError("the vocoder's look-ahead must be shorter than a frame")
        decoder.append(DecoderBlock(layout, (channels, channels // 2), rate, steps, lead_in))
        steps, channels = steps * rate, channels // 2
    lead_in = lead_in_steps(config.upsample_rates)
    decoder.extend([Snake(channels, steps, lead_in), CausalConv(layout, (channels, 1), kernel=7)])
    return decoder
