"""The transformer before the vocoder's convolutions: sliding-window attention over a stream's frames.

Past keys and values come from the step's state, which gets the new ones. Parameter names are the
checkpoint's (`code2wav.pre_transformer.*`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeCode2WavConfig

from antiphon_executor.models.code2wav.state import RingShape, VocoderStep
from antiphon_executor.models.joined_linear import joined_bias, joined_weight
from antiphon_kernels import dispatch


def ring_shape(config: Qwen3OmniMoeCode2WavConfig) -> RingShape:
    """The past frames that attention needs: a window of `sliding_window` frames includes the frame itself."""
    return RingShape(
        frames=config.sliding_window - 1,
        layers=config.num_hidden_layers,
        heads=config.num_key_value_heads,
        head_dim=_head_dim(config),
    )


def _head_dim(config: Qwen3OmniMoeCode2WavConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def attention_bias(position: Tensor, frames: int, ring: int, dtype: torch.dtype) -> Tensor:
    """0 if a new frame sees a key, else -inf: [batch, 1, frames, ring + frames], the ring's places first.

    `position` int64 [batch]: frames before this step. Place r of the ring holds the latest earlier frame with
    number r modulo `ring`. Frame q sees frames q - ring to q, as in transformers' `sliding_window_overlay`.
    """
    places = torch.arange(ring, device=position.device)
    new = torch.arange(frames, device=position.device)
    age = 1 + (position[:, None] - 1 - places) % ring
    began = (age <= position[:, None])[:, None, :]
    past = began & (age[:, None, :] + new[:, None] <= ring)
    distance = new[:, None] - new
    own = (distance >= 0) & (distance <= ring)
    seen = torch.cat([past, own.expand(position.shape[0], -1, -1)], dim=2).unsqueeze(1)
    return torch.zeros_like(seen, dtype=dtype).masked_fill_(~seen, float("-inf"))


class Rotary(nn.Module):
    """Rotary embedding by a stream's own frame numbers (`Qwen3OmniMoeRotaryEmbedding`, default type).

    Angles are reduced in float64, so accuracy does not depend on a stream's length.
    """

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig) -> None:
        super().__init__()
        parameters = config.rope_parameters
        if parameters["rope_type"] != "default":
            raise ValueError(
                f"the vocoder does not support rotary embeddings of type {parameters['rope_type']!r}"
            )
        dim = _head_dim(config)
        exponents = torch.arange(0, dim, 2, dtype=torch.float) / dim
        # Not a buffer, because a cast of the module would round it.
        self.frequencies = (1.0 / parameters["rope_theta"] ** exponents).double()

    def forward(self, position: Tensor, frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """cos and signed sin, [batch, frames, 1, head_dim], of `frames` frames from `position` [batch]."""
        if self.frequencies.device != position.device:
            self.frequencies = self.frequencies.to(position.device)
        numbers = position[:, None] + torch.arange(frames, device=position.device)
        angles = (numbers[..., None] * self.frequencies).remainder(2 * torch.pi).float()
        angles = torch.cat([-angles, angles], dim=-1).unsqueeze(2)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each pair (i, i + head_dim / 2); `sin` is negative for the lower half."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


class LayerScale(nn.Module):
    """`Qwen3OmniMoeCode2WavLayerScale`, with the residual sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(channels))

    def forward(self, residual: Tensor, x: Tensor) -> Tensor:
        return torch.addcmul(residual, x, self.scale)


class Attention(nn.Module):
    """`Qwen3OmniMoeCode2WavAttention` over the ring and the new frames."""

    qkv: Tensor
    bias: Tensor | None

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig, index: int) -> None:
        super().__init__()
        self.index, self.head_dim = index, _head_dim(config)
        hidden, biased = config.hidden_size, config.attention_bias
        queries, keys = (n * self.head_dim for n in (config.num_attention_heads, config.num_key_value_heads))
        self.q_proj = nn.Linear(hidden, queries, bias=biased)
        self.k_proj = nn.Linear(hidden, keys, bias=biased)
        self.v_proj = nn.Linear(hidden, keys, bias=biased)
        self.o_proj = nn.Linear(queries, hidden, bias=biased)
        self.grouped = queries != keys
        self.split = [count // self.head_dim for count in (queries + keys, keys)]
        for name in ("qkv", "bias"):
            self.register_buffer(name, None, persistent=False)
        self.fuse()

    def fuse(self) -> None:
        projections = (self.q_proj, self.k_proj, self.v_proj)
        self.qkv, self.bias = joined_weight(*projections), joined_bias(*projections)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, step: VocoderStep) -> Tensor:
        turning, value = (
            F.linear(x, self.qkv, self.bias).unflatten(-1, (-1, self.head_dim)).split(self.split, 2)
        )
        turned = rotate(turning, cos, sin)
        query, key = turned.split([turned.shape[2] - value.shape[2], value.shape[2]], dim=2)
        fresh = torch.stack([key, value], dim=2)
        step.fresh.append(fresh)
        seen = torch.cat([step.past[:, :, self.index], fresh], dim=1).transpose(1, 3)
        out = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            seen[:, :, 0],
            seen[:, :, 1],
            bias,
            enable_gqa=self.grouped,
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """`Qwen3OmniMoeCode2WavMlp`."""

    gate_up: Tensor

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.register_buffer("gate_up", None, persistent=False)
        self.fuse()

    def fuse(self) -> None:
        self.gate_up = joined_weight(self.gate_proj, self.up_proj)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(dispatch.gated(F.linear(x, self.gate_up)))


class TransformerLayer(nn.Module):
    """`Qwen3OmniMoeCode2WavTransformerLayer`."""

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig, index: int) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = Attention(config, index)
        self.mlp = Mlp(config)
        self.input_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.post_attention_layernorm = nn.RMSNorm(hidden, eps=eps)
        self.self_attn_layer_scale = LayerScale(hidden)
        self.mlp_layer_scale = LayerScale(hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor, step: VocoderStep) -> Tensor:
        x = self.self_attn_layer_scale(x, self.self_attn(self.input_layernorm(x), cos, sin, bias, step))
        return self.mlp_layer_scale(x, self.mlp(self.post_attention_layernorm(x)))


class PreTransformer(nn.Module):
    """`Qwen3OmniMoeCode2WavTransformerModel`, one step at a time."""

    def __init__(self, config: Qwen3OmniMoeCode2WavConfig) -> None:
        super().__init__()
        if config.hidden_act != "silu":
            raise ValueError(f"the vocoder does not support the activation {config.hidden_act!r}")
        self.window = ring_shape(config).frames
        self.layers = nn.ModuleList(
            TransformerLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary = Rotary(config)

    def forward(self, x: Tensor, step: VocoderStep) -> Tensor:
        """[batch, frames, hidden] → the same shape."""
        frames = x.shape[1]
        cos, sin = self.rotary(step.position, frames, x.dtype)
        bias = attention_bias(step.position, frames, self.window, x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin, bias, step)
        return self.norm(x)
