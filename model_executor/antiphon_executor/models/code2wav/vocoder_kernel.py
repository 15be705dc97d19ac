"""The vocoder as one call of the C++ kernels: a frame of each stream in float32, on the slots' own state."""

from __future__ import annotations

import ctypes
from ctypes import c_double
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig

from antiphon_executor.models.code2wav.layers import (
    CausalConv,
    CausalTransposedConv,
    ConvNeXtBlock,
    DecoderBlock,
    ResidualUnit,
    Snake,
)
from antiphon_executor.models.code2wav.state import VocoderPool
from antiphon_executor.models.code2wav.transformer import Attention, PreTransformer, TransformerLayer
from antiphon_kernels.native.library import Matrix, Stage, Vocoder, VocoderLayer, library
from antiphon_kernels.native.packing import Packing, padded
from antiphon_kernels.snake import constants

# Larger vocoders are faster by oneDNN, which the cache then does not limit.
_MAX_PARAMETERS = 16_000_000
_CONV, _CONVNEXT, _UNIT_FIRST, _UNIT_SECOND = range(4)  # `Kind` of vocoder.cpp


@dataclass(frozen=True, slots=True, eq=False)
class VocoderParts:
    """The modules of a `StreamingCode2Wav`, with their weights loaded."""

    config: Qwen3OmniMoeCode2WavConfig
    code_embedding: nn.Embedding
    pre_transformer: PreTransformer
    upsample: nn.ModuleList
    decoder: nn.ModuleList
    state: VocoderPool


def supports(parts: VocoderParts) -> bool:
    """Whether the kernels are built and compute this vocoder."""
    modules = (parts.code_embedding, parts.pre_transformer, parts.upsample, parts.decoder)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    sizes = (parts.config.hidden_size, parts.config.intermediate_size, parts.state.ring.head_dim)
    return (
        library() is not None
        and parts.state.tails.device.type == "cpu"
        and parts.state.tails.dtype == torch.float32
        and all(size % 8 == 0 for size in sizes)
        and sum(parameter.numel() for parameter in parameters) <= _MAX_PARAMETERS
    )


class VocoderKernel:
    """Copies the weights; reads and writes the state's pools."""

    def __init__(self, parts: VocoderParts) -> None:
        found = library()
        if found is None:
            raise RuntimeError("the C++ kernels are not built")
        self._library, self._parts, self._packing = found, parts, Packing()
        self._floats = 0
        self._stages: list[Stage] = []
        self._samples = self._add_stages()
        self._struct = self._vocoder()
        self._scratch = torch.empty(0)

    def __call__(self, codes: Tensor, slots: Tensor) -> Tensor:
        """As `StreamingCode2Wav.forward`, for `codes` [batch, 1, groups]; rows of slot 0 are silent."""
        n, state, struct = len(slots), self._parts.state, self._struct
        if self._scratch.numel() < 3 * n * struct.row_floats:
            self._scratch = torch.empty(3 * n * struct.row_floats)
        codes, slots = codes.contiguous(), slots.contiguous()
        struct.tails, struct.rings = state.tails.data_ptr(), state.rings.data_ptr()
        struct.positions = state.positions.data_ptr()
        sound = torch.empty(n, self._samples)
        self._library.antiphon_vocoder_run(
            ctypes.byref(struct),
            codes.data_ptr(),
            slots.data_ptr(),
            n,
            sound.data_ptr(),
            self._samples,
            self._scratch.data_ptr(),
            torch.get_num_threads(),
        )
        return sound

    def _vocoder(self) -> Vocoder:
        parts, pack = self._parts, self._packing
        config, ring = parts.config, parts.state.ring
        layers = [self._layer(cast(TransformerLayer, layer)) for layer in parts.pre_transformer.layers]
        frequencies = parts.pre_transformer.rotary.frequencies
        # What a stream's row needs at most before the stages.
        widths = [max(layer.qkv.outputs, layer.out.inputs, layer.gate_up.outputs) for layer in layers]
        blocks = len(parts.upsample) * 2 + 1
        return Vocoder(
            layers=pack.array(VocoderLayer, layers),
            stages=pack.array(Stage, self._stages),
            embedding=pack.floats(parts.code_embedding.weight),
            norm=pack.floats(parts.pre_transformer.norm.weight),
            frequencies=ctypes.cast(pack.floats(frequencies, torch.float64), ctypes.POINTER(c_double)),
            tail_floats=parts.state.tails.shape[1],
            row_floats=max(self._floats, *widths),
            codebook=config.codebook_size,
            groups=config.num_quantizers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            count=len(layers),
            heads=config.num_attention_heads,
            kv_heads=ring.heads,
            head_dim=ring.head_dim,
            ring=ring.frames,
            stage_count=len(self._stages),
            shared_stages=blocks,
            eps=config.rms_norm_eps,
        )

    def _layer(self, layer: TransformerLayer) -> VocoderLayer:
        attention, mlp, pack = layer.self_attn, layer.mlp, self._packing

        def joined(*projections: nn.Linear) -> Matrix:
            biases = [projection.bias for projection in projections if projection.bias is not None]
            weight = torch.cat([projection.weight for projection in projections])
            return pack.linear(weight, torch.cat(biases) if biases else None)

        return VocoderLayer(
            qkv=joined(*_qkv(attention)),
            out=joined(attention.o_proj),
            gate_up=joined(mlp.gate_proj, mlp.up_proj),
            down=joined(mlp.down_proj),
            input_norm=pack.floats(layer.input_layernorm.weight),
            post_norm=pack.floats(layer.post_attention_layernorm.weight),
            attention_scale=pack.floats(layer.self_attn_layer_scale.scale),
            mlp_scale=pack.floats(layer.mlp_layer_scale.scale),
        )

    def _add_stages(self) -> int:
        """Fills the list of stages; returns the samples of a frame."""
        steps = 1
        for pair in self._parts.upsample:
            upsample, block = cast(nn.ModuleList, pair)
            steps = self._add_transposed(cast(CausalTransposedConv, upsample), None, steps)
            self._add_convnext(cast(ConvNeXtBlock, block), steps)
        first, *blocks, activation, last = self._parts.decoder
        self._add(cast(CausalConv, first), None, steps, _CONV)
        for decoder_block in blocks:
            rise, upsample, *units = cast(DecoderBlock, decoder_block).block
            steps = self._add_transposed(cast(CausalTransposedConv, upsample), cast(Snake, rise), steps)
            for unit in units:
                residual = cast(ResidualUnit, unit)
                self._add(residual.conv1, residual.act1, steps, _UNIT_FIRST)
                self._add(residual.conv2, residual.act2, steps, _UNIT_SECOND)
        self._add(cast(CausalConv, last), cast(Snake, activation), steps, _CONV)
        return steps

    def _add_transposed(self, conv: CausalTransposedConv, snake: Snake | None, steps: int) -> int:
        matrix = self._packing.transposed_conv(conv.conv.weight, conv.conv.bias, conv.stride)
        self._push(Stage(conv=matrix, kind=_CONV), conv.tail, snake, steps)
        return steps * conv.stride

    def _add(self, conv: CausalConv, snake: Snake | None, steps: int, kind: int) -> None:
        matrix = self._packing.conv(conv.conv.weight, conv.conv.bias, conv.dilation)
        self._push(Stage(conv=matrix, kind=kind), conv.tail, snake, steps)

    def _add_convnext(self, block: ConvNeXtBlock, steps: int) -> None:
        conv, pack = block.dwconv.conv, self._packing
        channels, _, taps = conv.weight.shape
        by_channel = Matrix(
            pack.floats(conv.weight[:, 0].t()), pack.floats(conv.bias), channels, channels, taps, 1
        )
        stage = Stage(
            conv=by_channel,
            widen=pack.linear(block.pwconv1.weight, block.pwconv1.bias),
            narrow=pack.linear(block.pwconv2.weight, block.pwconv2.bias),
            norm_weight=pack.floats(block.norm.weight),
            norm_bias=pack.floats(block.norm.bias),
            gamma=pack.floats(block.gamma),
            kind=_CONVNEXT,
        )
        self._push(stage, block.dwconv.tail, None, steps)
        self._floats = max(self._floats, steps * stage.widen.outputs)

    def _push(self, stage: Stage, tail: int, snake: Snake | None, steps: int) -> None:
        layout = self._parts.state.layout
        stage.tail_offset = sum(layout.widths[:tail])
        stage.tail_steps, stage.tail_channels = layout.shapes[tail]
        stage.steps = steps
        if snake is not None:
            rate, gain = constants(snake.alpha, snake.beta)
            stage.rate, stage.gain = self._packing.channels(rate), self._packing.channels(gain)
            stage.lead_in = snake.lead_in
        rows = stage.tail_steps + steps
        self._floats = max(self._floats, rows * padded(stage.conv.inputs), steps * stage.conv.outputs)
        self._stages.append(stage)


def _qkv(attention: Attention) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    return attention.q_proj, attention.k_proj, attention.v_proj
